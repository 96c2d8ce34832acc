"""From exceptions to the protocol's errors."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

from towpath._errors import Cancelled, OperationError, PipelineError, StepError, TowpathError
from towpath._operations import MAX_TEXT_BYTES, cut
from towpath._site import SDK_FOLDER, relative

HIDDEN = (SDK_FOLDER, "<frozen ")


def failure(error: BaseException, root: str | None) -> dict[str, Any]:
    """Return the protocol's form of what a stage, or the loading of a program, raised."""
    error = _unwrapped(error)
    result: dict[str, Any] = {"code": "failed", "message": _message(error)}
    if isinstance(error, TowpathError):
        result["message"] = error.message
        if error.hint:
            result["hint"] = cut(error.hint)
    match error:
        case PipelineError():
            result["code"] = "pipeline"
            if error.file is not None:
                result["site"] = {"file": error.file, "line": error.line or 1}
            if trace := getattr(error, "trace", None):
                result["trace"] = trace
        case StepError():
            result["code"] = "step_failed"
            result["step"] = {"exit_code": error.exit_code, "args": list(error.command)}
        case OperationError():
            result["code"] = error.code
        case Cancelled():
            result |= {"code": "cancelled", "message": "the stage was cancelled"}
    result["message"] = cut(result["message"])
    if result["code"] not in ("pipeline", "cancelled"):
        site = deepest_site(error, root)
        if site is not None:
            result["site"] = {"file": site[0], "line": site[1]}
        result["trace"] = traced(error)
    return result


def traced(error: BaseException) -> str:
    """Return the stack trace of an exception, without frames of this SDK, cut to 64 KiB from its end."""
    from traceback import TracebackException

    trace = TracebackException.from_exception(error)
    for part in _parts(trace):
        part.stack[:] = [frame for frame in part.stack if not frame.filename.startswith(HIDDEN)]
    text = "".join(trace.format()).encode("utf-8", "replace")
    return text[-MAX_TEXT_BYTES:].decode("utf-8", "ignore")


def deepest_site(error: BaseException, root: str | None) -> tuple[str, int] | None:
    """Return the innermost line of a stack trace that is below `root`, relative to it."""
    site = None
    trace = error.__traceback__
    while trace is not None:
        file = trace.tb_frame.f_code.co_filename
        inside = root is None or file.startswith(root.rstrip(os.sep) + os.sep)
        if inside and not file.startswith(HIDDEN):
            site = relative(file, root), trace.tb_lineno
        trace = trace.tb_next
    return site


def _parts(trace: Any) -> Iterator[Any]:
    waiting = [trace]
    while waiting:
        part = waiting.pop()
        yield part
        waiting += [other for other in (part.__cause__, part.__context__, *(part.exceptions or ())) if other]


def _unwrapped(error: BaseException) -> BaseException:
    """Return the failed step of an exception group that consists of failed steps alone, as of a TaskGroup."""
    if not isinstance(error, BaseExceptionGroup):
        return error
    leaves = list(_leaves(error))
    return leaves[0] if len(leaves) == 1 or all(isinstance(leaf, StepError) for leaf in leaves) else error


def _leaves(group: BaseExceptionGroup[BaseException]) -> Iterator[BaseException]:
    for error in group.exceptions:
        if isinstance(error, BaseExceptionGroup):
            yield from _leaves(error)
        else:
            yield error


def _message(error: BaseException) -> str:
    try:
        text = str(error)
    except Exception:  # noqa: BLE001 - it is the user's __str__
        text = "(its message cannot be shown)"
    name = type(error).__name__
    return f"{name}: {text}" if text else name
