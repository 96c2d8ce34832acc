"""What a stage asks the engine to do, besides reading and making values."""

from __future__ import annotations

import sys
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Literal

from towpath._errors import OperationError
from towpath._pending import Ask, Pending, current_call
from towpath._values import Directory, File, StepResult, ask, mounts, step_result

TYPE_CHECKING = False
if TYPE_CHECKING:
    from towpath._pending import Steps

Level = Literal["debug", "info", "warning", "error"]

MAX_STEP_BYTES = 1 << 20
MAX_TEXT_BYTES = 64 << 10
MAX_TEXT_BITS = 4096  # of an integer that is written as text: Python refuses to write very long ones
INFINITY = float("inf")
UNBOUND = (False, None, None, None, None, None)
LEVELS = ("debug", "info", "warning", "error")


def run(
    *args: str,
    tree: Directory | Mapping[str, Directory | File] | None = None,
    cwd: str = "",
    env: Mapping[str, str] | None = None,
    outputs: Sequence[str] = (),
    ok: Collection[int] | Literal["any"] = (0,),
    network: bool = False,
    root: Directory | None = None,
    cpus: float | None = None,
    memory: int | str | None = None,
    pids: int | None = None,
    output: int | str | None = None,
) -> Pending[StepResult]:
    """Run a command in a fresh workspace that holds `tree` and nothing else.

    Args:
        args: The command and its arguments. Without a slash the command is looked up in the step's `PATH`.
        tree: The content of the workspace: a directory, or files and directories by path.
        cwd: The folder of the workspace to run in; made where it is missing.
        env: Variables besides the step's minimal environment.
        outputs: Paths or globs, relative to the workspace, of what the step makes. Every one has to exist afterwards.
        ok: The exit codes that are accepted, or `"any"`.
        network: Whether the step may use the machine's network. Without it there is none.
        root: An unpacked image that takes the place of the machine's toolchain.
        cpus: How many processors' worth of time it may use, such as 1.5.
        memory: How much memory its processes may use together: a number of bytes, or one with a unit, such as `"512MiB"` or `"2GB"`.
        pids: How many processes and threads it may have at once.
        output: How much it may print and leave behind in its outputs, together; written as `memory`.

    Raises:
        StepError: The exit code is not in `ok`, a declared output is missing, or a limit was exceeded.
        OperationError: The step could not be started; code `too_large` where `args` and `env` exceed 1 MiB.
        TypeError, ValueError: An argument is of the wrong type, there is no command, or a limit is none.
    """
    if not args:
        message = "run() needs a command"
        raise ValueError(message)
    variables = dict(env or {})
    for text in (*args, *variables, *variables.values(), cwd):
        if not isinstance(text, str):
            message = f"run() takes strings, not {text!r} of type {type(text).__name__}"
            raise TypeError(message)
    if isinstance(outputs, str):
        message = f"outputs is a list of paths: write outputs=[{outputs!r}]"
        raise TypeError(message)
    size = sum(len(text.encode("utf-8", "surrogatepass")) for text in (*args, *variables, *variables.values()))
    if size > MAX_STEP_BYTES:
        message = f"args and env of a step take {size} bytes together, more than {MAX_STEP_BYTES}"
        raise OperationError(message, code="too_large", hint="pass the data in a file of `tree`")
    params = {
        "args": list(args),
        "tree": mounts({"": tree} if isinstance(tree, Directory) else tree or {}),
        "cwd": cwd,
        "env": variables,
        "outputs": list(outputs),
        "ok": ok if isinstance(ok, str) else sorted(ok),
    }

    if (network, root, cpus, memory, pids, output) != UNBOUND:
        from towpath._limits import wanted

        params |= wanted(network, root, {"cpus": cpus, "memory": memory, "output": output, "pids": pids})

    def steps() -> Steps[StepResult]:
        return (yield from ask("step.run", params, step_result))

    return Pending(_described(args), steps())


def tool(name: str) -> Pending[str]:
    """Find a program in the engine's `PATH`, or at an absolute path, and return the path of its real file.

    The steps that the stage runs afterwards see it, with the installation that it belongs to. It becomes an input of the stage: a
    cached result is not served once it has changed.

    Raises:
        OperationError: There is no such program.
    """

    def steps() -> Steps[str]:
        return (yield from ask("tool.find", {"name": name}, lambda answer: str(answer["path"])))

    return Pending(f"tool({name!r})", steps())


def log(message: str, level: Level = "info", **fields: Any) -> None:
    """Write a line to the log of the stage; outside of a stage, to standard error.

    Args:
        message: The text; what is beyond 64 KiB is cut.
        level: `debug`, `info`, `warning` or `error`.
        fields: Further values, each representable in JSON; a number that is not, as NaN, is written as text. Where they take more than
            64 KiB, only their size is logged, as `fields_cut`.

    Raises:
        ValueError: An unknown level.
        OperationError: A field is not representable in JSON.
    """
    if level not in LEVELS:
        text = f"unknown log level {level!r}: use one of {', '.join(LEVELS)}"
        raise ValueError(text)
    call = current_call.get()
    if call is None:
        extra = "".join(f" {name}={value!r}" for name, value in fields.items())
        print(f"{level}: {message}{extra}", file=sys.stderr)
    else:
        call.notify(Ask("log", {"level": level, "message": cut(str(message)), "fields": _cut_fields(fields)}))


def cut(text: str, limit: int = MAX_TEXT_BYTES) -> str:
    """Cut `text` to `limit` bytes of UTF-8, and replace what UTF-8 cannot represent."""
    data = text.encode("utf-8", "replace")
    return data[:limit].decode("utf-8", "ignore")


def _cut_fields(fields: dict[str, Any]) -> dict[str, Any]:
    from towpath._json import MAX_DEPTH, EncodeError, canonical

    fields = _numbers_as_text(fields, MAX_DEPTH)
    try:
        size = len(canonical(fields))
    except EncodeError as error:
        text = f"log: {error}"
        raise OperationError(text, code="invalid") from None
    return fields if size <= MAX_TEXT_BYTES else {"fields_cut": size}


def _numbers_as_text(value: Any, room: int) -> Any:
    """Return `value` with text in place of the numbers that JSON has not; what is nested too deeply stays, to be refused."""
    from towpath._json import INT64_MAX, INT64_MIN

    if isinstance(value, float):
        return value if -INFINITY < value < INFINITY else repr(value)
    if isinstance(value, int):
        return value if INT64_MIN <= value <= INT64_MAX or value.bit_length() > MAX_TEXT_BITS else str(value)
    if room and isinstance(value, dict):
        return {key: _numbers_as_text(element, room - 1) for key, element in value.items()}
    if room and isinstance(value, list | tuple):
        return [_numbers_as_text(element, room - 1) for element in value]
    return value


def _described(args: Sequence[str]) -> str:
    text = ", ".join(map(repr, args))
    return f"run({text if len(text) <= 80 else text[:77] + '...'})"  # noqa: PLR2004 - fits a terminal line
