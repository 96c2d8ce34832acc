"""The exceptions of the SDK: one tree, except for `Cancelled`."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence


class TowpathError(Exception):
    """The base of every error that this package raises.

    Attributes:
        message: What went wrong.
        hint: What to do about it, where that is known.
    """

    message: str
    hint: str | None

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        """Return the message, followed by the hint where there is one."""
        return f"{self.message} (hint: {self.hint})" if self.hint else self.message


class PipelineError(TowpathError):
    """The pipeline program declares something that is not allowed, or cannot be loaded.

    Where several declarations are wrong, the message lists all of them, and the attributes are those of the first.

    Attributes:
        file: The file that is wrong, relative to the program's folder where it is below it.
        line: The line in it, from 1.
    """

    file: str | None
    line: int | None

    def __init__(self, message: str, *, file: str | None = None, line: int | None = None, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.file = file
        self.line = line


class MissingInputError(TowpathError, TypeError):
    """A stage was called as a plain function without a value for one of its inputs.

    Attributes:
        argument: The name of the input.
    """

    argument: str

    def __init__(self, message: str, *, argument: str, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.argument = argument


class UsageError(TowpathError, RuntimeError):
    """An operation was used where it cannot work: outside of a stage, or waited for on an event loop."""


class StepError(TowpathError):
    """A step ended with an exit code that is not accepted, or did not make a declared output.

    Attributes:
        exit_code: The exit code of the command.
        command: The command and its arguments.
    """

    exit_code: int
    command: tuple[str, ...]

    def __init__(self, message: str, *, exit_code: int, command: Sequence[str], hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.exit_code = exit_code
        self.command = tuple(command)


class OperationError(TowpathError):
    """The engine could not do what it was asked to do.

    Attributes:
        code: `not_found`, `invalid`, `too_large`, `unsupported`, `internal` or `failed`.
    """

    code: str

    def __init__(self, message: str, *, code: str, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.code = code


class Cancelled(BaseException):
    """The stage was cancelled while a synchronous stage function waited for an operation.

    It is no `TowpathError` and no `Exception`, so that `except Exception` does not swallow it. Asynchronous stages see
    `asyncio.CancelledError` instead.
    """
