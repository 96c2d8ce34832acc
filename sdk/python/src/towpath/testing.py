"""A test kit: call stages in unit tests without the engine, and look at the graph of a program.

    from towpath.testing import FakeEngine
    import pipeline

    async def test_test() -> None:
        with FakeEngine() as engine:
            engine.on_run("pytest").returns(outputs={"report.xml": REPORT})
            src = engine.directory({"tests/test_a.py": "def test_a(): pass"})
            report = await pipeline.test(src=src)
        assert report.failures == 0
        assert engine.steps[0].args[0] == "pytest"

Nothing is executed: a step returns what it was scripted to return. All other operations work, on files in memory.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Collection, Mapping, Sequence
from contextvars import Token
from typing import Any, Literal, NamedTuple, NoReturn, Self

from towpath import _values
from towpath._errors import OperationError, StepError, TowpathError, UsageError
from towpath._fake import Content, Store, is_below
from towpath._glob import matcher
from towpath._operations import Level
from towpath._pending import Ask, Call, Request, current_call
from towpath._program import MODULE, Program
from towpath._record import forget
from towpath._site import SDK_FOLDER
from towpath._values import Directory, File

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import TracebackType

__all__ = ["FakeEngine", "LogLine", "Result", "RunRule", "Step", "plan"]


class Step(NamedTuple):
    """One call of `run`, with its arguments as they were given, but `memory` and `output` in bytes."""

    args: tuple[str, ...]
    tree: Directory
    cwd: str
    env: Mapping[str, str]
    outputs: tuple[str, ...]
    ok: Collection[int] | Literal["any"]
    network: bool = False
    root: Directory | None = None
    cpus: float | None = None
    memory: int | None = None
    pids: int | None = None
    output: int | None = None


class LogLine(NamedTuple):
    """One call of `log`."""

    level: Level
    message: str
    fields: Mapping[str, Any]


class Result(NamedTuple):
    """What a scripted step does."""

    exit_code: int = 0
    stdout: bytes | str = b""
    stderr: bytes | str = b""
    outputs: Mapping[str, bytes | str | File] = {}
    cached: bool = False


class RunRule:
    """What a step returns whose command starts with certain arguments; made by `FakeEngine.on_run`."""

    def __init__(self, args: tuple[str, ...]) -> None:
        self._args = args
        self._does: Callable[[Step], Result] = lambda _step: Result()

    def returns(
        self,
        *,
        exit_code: int = 0,
        stdout: bytes | str = b"",
        stderr: bytes | str = b"",
        outputs: Mapping[str, bytes | str | File] | None = None,
        cached: bool = False,
    ) -> Self:
        """Have the step end with `exit_code` and leave `outputs`, files by path, behind."""
        result = Result(exit_code, stdout, stderr, outputs or {}, cached)
        return self.does(lambda _step: result)

    def does(self, function: Callable[[Step], Result]) -> Self:
        """Have a function decide what the step does."""
        self._does = function
        return self

    def raises(self, error: TowpathError) -> Self:
        """Have the operation raise `error`."""

        def fail(_step: Step) -> NoReturn:
            raise error

        return self.does(fail)

    def _fits(self, args: tuple[str, ...]) -> bool:
        return args[: len(self._args)] == self._args


class FakeEngine:
    """An engine in memory. While it is entered, operations of stages that are called go to it.

    Attributes:
        steps: The calls of `run`, in their order.
        logs: The calls of `log`, in their order.
    """

    def __init__(self) -> None:
        self.steps: list[Step] = []
        self.logs: list[LogLine] = []
        self._store = Store()
        self._rules: list[RunRule] = []
        self._tools: dict[str, str] = {}
        self._token: Token[Call | None] | None = None
        self._call = _FakeCall(self)

    def __enter__(self) -> Self:
        """Take the place of the engine."""
        self._token = current_call.set(self._call)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Leave, and raise UsageError where an operation was never awaited."""
        if self._token is not None:
            current_call.reset(self._token)
        unfinished = list(self._call.unfinished)
        self._call.unfinished.clear()
        if error is None and unfinished:
            places = (f"{pending.operation} at {pending.site.file}:{pending.site.line}" for pending in unfinished)
            message = f"never awaited: {'; '.join(places)}"
            raise UsageError(message, hint="`await` it, or call .wait() on it in a synchronous stage")

    # Scripting

    def on_run(self, *args: str) -> RunRule:
        """Script the steps whose command starts with `args`.

        Of several rules that fit, the one with the most arguments counts, and of these the latest.
        """
        rule = RunRule(args)
        self._rules.insert(0, rule)
        return rule

    def on_tool(self, name: str, path: str) -> None:
        """Have `tool(name)` find `path`. An absolute path is found where it is."""
        self._tools[name] = path

    # Content

    def file(self, name: str, content: bytes | str = b"", *, executable: bool = False) -> File:
        """Make a file in memory."""
        return self._store.file(name, _bytes(content), executable=executable)

    def directory(self, content: Mapping[str, bytes | str | File | Directory]) -> Directory:
        """Make a directory in memory, of contents by path."""
        tree: dict[str, File | Directory] = {}
        for path, value in content.items():
            name = path.rpartition("/")[2]
            tree[path] = value if isinstance(value, File | Directory) else self.file(name, value)
        return self._store.directory(tree)

    def content_of(self, file: File) -> bytes:
        """Return the content of a file."""
        return self._store.content(file)

    def files_of(self, directory: Directory) -> dict[str, bytes]:
        """Return the content of all files of a directory, by path."""
        return {path: self._store.content(file) for path, file in self._store.walk(directory).items()}

    # Operations

    def _answer(self, ask: Ask) -> dict[str, Any]:
        operations = {
            "step.run": self._run,
            "tool.find": self._find,
            "file.read": self._store.read,
            "blob.begin": self._store.begin,
            "blob.append": self._store.append,
            "blob.commit": self._store.commit,
            "directory.list": self._store.list,
            "directory.get": self._store.get,
            "directory.make": self._store.make,
            "directory.filter": self._store.filter,
            "report.parse": self._store.report,
        }
        return operations[ask.method](ask.params)

    def _notify(self, ask: Ask) -> None:
        if ask.method == "log":
            self.logs.append(LogLine(ask.params["level"], ask.params["message"], ask.params["fields"]))

    def _find(self, params: Mapping[str, Any]) -> dict[str, Any]:
        name = params["name"]
        if name not in self._tools and os.path.isabs(name):
            return {"path": name}
        if name not in self._tools:
            raise OperationError(f"there is no tool {name!r}", code="not_found", hint="script it: engine.on_tool(name, path)")
        return {"path": self._tools[name]}

    def _run(self, params: Mapping[str, Any]) -> dict[str, Any]:
        args = tuple(params["args"])
        tree = self._store.mounted(params["tree"])
        step = Step(
            *(args, tree, params["cwd"], params["env"], tuple(params["outputs"]), params["ok"]),
            network=params.get("network", False),
            root=self._root(params.get("root")),
            **params.get("limits", {}),
        )
        self.steps.append(step)
        fitting = [rule for rule in self._rules if rule._fits(args)]  # noqa: SLF001 - they belong together
        rule = max(fitting, key=lambda rule: len(rule._args), default=None)  # noqa: SLF001 - they belong together
        if rule is None:
            message = f"no step {' '.join(args)!r} was scripted"
            raise UsageError(message, hint=f"engine.on_run({args[0]!r}).returns(…)")
        result = rule._does(step)  # noqa: SLF001 - they belong together
        if step.ok != "any" and result.exit_code not in step.ok:
            message = f"{args[0]!r} ended with exit code {result.exit_code}"
            raise StepError(message, exit_code=result.exit_code, command=args)
        made = {
            path: content if isinstance(content, File) else self.file(path.rpartition("/")[2], content)
            for path, content in result.outputs.items()
        }
        found = self._outputs(step, made, result.exit_code)
        return {
            "exit_code": result.exit_code,
            "cached": result.cached,
            "stdout": _values.encode(self.file("stdout", result.stdout)),
            "stderr": _values.encode(self.file("stderr", result.stderr)),
            "outputs": [self._store.entry(path, found[path]) for path in sorted(found)],
            "tree": _values.encode(self._store.directory(found)),
        }

    def _root(self, value: Mapping[str, Any] | None) -> Directory | None:
        """Return the image of a step, which has to be in this engine."""
        return None if value is None else self._store.mounted([{"path": "", "value": value}])

    def _outputs(self, step: Step, made: Mapping[str, File], exit_code: int) -> dict[str, Content]:
        """Return what the declared outputs match of the files that a step has made."""
        found: dict[str, Content] = {}
        for output in step.outputs:
            matches = matcher((output,))
            below = {path[len(output) + 1 :]: file for path, file in made.items() if is_below(path, output)}
            matched: dict[str, Content] = {path: file for path, file in made.items() if matches(path)}
            if below:
                matched = {output: self._store.directory(below)}
            if not matched:
                message = f"{step.args[0]!r} has not made the output {output!r}"
                raise StepError(message, exit_code=exit_code, command=step.args, hint="script it: returns(outputs={…})")
            found |= matched
        return found


class _FakeCall(Call):
    """Answers at once, on whatever thread asks."""

    def __init__(self, engine: FakeEngine) -> None:
        super().__init__()
        self._engine = engine

    def request(self, ask: Ask) -> Request:
        request = Request()
        try:
            answer = self._engine._answer(ask)  # noqa: SLF001 - it is a part of the engine
        except TowpathError as error:
            request.settle(error=error)
        else:
            request.settle(answer)
        return request

    def notify(self, ask: Ask) -> None:
        self._engine._notify(ask)  # noqa: SLF001 - it is a part of the engine

    def withdraw(self, request: Request) -> None:
        request.settle(error=UsageError("the operation was given up"))


def plan(program: str | os.PathLike[str], root: str | os.PathLike[str] | None = None) -> dict[str, Any]:
    """Load a program and return its plan, as the protocol's specification defines it.

    The program is loaded anew, and what it imports from its own folder too; modules that are loaded already are left as they are.

    Args:
        program: The path of `pipeline.py`, or of the folder of a package.
        root: The folder that sites are relative to; by default that of the program.

    Raises:
        PipelineError: The program is wrong; the message lists everything that is.
    """
    path = os.path.abspath(program)
    folder = os.path.abspath(root) if root is not None else os.path.dirname(path)
    search_path, hooks, modules = list(sys.path), list(sys.path_hooks), dict(sys.modules)
    for name in _modules_of(folder):
        del sys.modules[name]
    try:
        result: dict[str, Any] = Program(path, folder).describe()["plan"]
    finally:
        sys.path[:] = search_path
        sys.path_hooks[:] = hooks
        forget(folder)
        for name in _modules_of(folder):
            del sys.modules[name]
        sys.modules.update(modules)
    return result


def _modules_of(folder: str) -> Sequence[str]:
    """Return the names of the modules that belong to a program in `folder`."""
    names = []
    for name, module in list(sys.modules.items()):
        file = getattr(module, "__file__", None) or ""
        own = is_below(file, folder) and not file.startswith(SDK_FOLDER) and name != "__main__"
        if own or name == MODULE or name.startswith(MODULE + "."):
            names.append(name)
    return names


def _bytes(content: bytes | str) -> bytes:
    return content.encode() if isinstance(content, str) else content
