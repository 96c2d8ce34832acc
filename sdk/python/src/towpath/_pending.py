"""Operations that the engine does on behalf of a stage, and how a stage waits for them.

An operation is a generator that yields one request after the other and is sent the answers. Its first request goes out when the
operation is created; whoever awaits it, or waits for it, drives the rest. So one description serves async code, threads and the
test kit.
"""

from __future__ import annotations

import sys
from _thread import allocate_lock
from collections.abc import Callable, Coroutine, Generator, Mapping
from contextvars import ContextVar
from typing import Any, Generic, NamedTuple, TypeVar, cast

from towpath._errors import Cancelled, UsageError
from towpath._site import Site, caller

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import TracebackType
    from typing import TypeAlias

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)

MAX_OPEN_REQUESTS = 10_000


class Ask(NamedTuple):
    """One request to the engine, without the call that it is made for."""

    method: str
    params: dict[str, Any]


if TYPE_CHECKING:
    Steps: TypeAlias = Generator[Ask, Mapping[str, Any], T]


class Request:
    """A request that was sent; its answer arrives from another thread, or at once in the test kit."""

    __slots__ = ("_arrived", "_callbacks", "_error", "_guard", "_result", "id")

    def __init__(self, ident: int = 0) -> None:
        self.id = ident
        self._guard = allocate_lock()
        self._arrived = allocate_lock()
        self._arrived.acquire()
        self._callbacks: list[Callable[[], None]] | None = []
        self._result: Mapping[str, Any] | None = None
        self._error: BaseException | None = None

    def settle(self, result: Mapping[str, Any] | None = None, error: BaseException | None = None) -> bool:
        """Record the answer and wake whoever waits; False where it was settled before."""
        with self._guard:
            if self._callbacks is None:
                return False
            callbacks, self._callbacks = self._callbacks, None
            self._result, self._error = result, error
        self._arrived.release()
        for callback in callbacks:
            callback()
        return True

    def subscribe(self, callback: Callable[[], None]) -> None:
        """Call `callback` once the request is settled, on whatever thread settles it."""
        with self._guard:
            if self._callbacks is not None:
                self._callbacks.append(callback)
                return
        callback()

    def result(self) -> Mapping[str, Any]:
        """Return or raise the answer of a settled request."""
        if self._error is not None:
            raise self._error
        return cast("Mapping[str, Any]", self._result)

    @property
    def was_cancelled(self) -> bool:
        """Whether it was settled by a cancellation."""
        return isinstance(self._error, Cancelled)

    def wait(self) -> Mapping[str, Any]:
        """Block this thread until the request is settled."""
        with self._arrived:
            return self.result()


class Call:
    """One call of a stage function: whom its operations are sent to, and which of them are unfinished."""

    def __init__(self) -> None:
        self.unfinished: dict[Pending[Any], None] = {}

    def request(self, ask: Ask) -> Request:
        """Send a request on behalf of this call."""
        raise NotImplementedError

    def notify(self, ask: Ask) -> None:
        """Send a notification on behalf of this call."""
        raise NotImplementedError

    def withdraw(self, request: Request) -> None:
        """Tell the engine that nobody waits for `request` any more."""


current_call: ContextVar[Call | None] = ContextVar("towpath_call", default=None)


def require_call(operation: str) -> Call:
    """Return the call that this code runs for."""
    call = current_call.get()
    if call is None:
        message = f"{operation} needs an engine, and no stage is running here"
        raise UsageError(
            message,
            hint="in a unit test use `with towpath.testing.FakeEngine()`; in a thread of your own run the code in "
            "`contextvars.copy_context()`, as asyncio.to_thread does",
        )
    return call


class Pending(Coroutine[Any, Any, T_co], Generic[T_co]):
    """The result of an operation that was started: `await` it in async code, `.wait()` for it in synchronous stages.

    It may be passed wherever asyncio takes a coroutine: `asyncio.gather`, `TaskGroup.create_task`, `asyncio.wait_for`. Cancelling
    the task that awaits it cancels the operation. A stage that returns while one of its operations is unfinished fails.
    """

    __slots__ = ("_call", "_coroutine", "_error", "_request", "_state", "_steps", "_value", "operation", "site")

    operation: str
    site: Site

    def __init__(self, operation: str, steps: Steps[T_co]) -> None:
        self.operation = operation
        self.site = caller()
        self._call = require_call(operation)
        self._steps = steps
        self._coroutine: Coroutine[Any, Any, T_co] | None = None
        self._request: Request | None = None
        self._value: T_co | None = None
        self._error: BaseException | None = None
        self._state = "created"
        self._step(lambda: next(steps))
        if self._error is not None:
            raise self._error
        self._call.unfinished[self] = None

    def __repr__(self) -> str:
        """Name the operation and its state."""
        return f"<Pending {self.operation}: {self._state}>"

    @property
    def was_awaited(self) -> bool:
        """Whether somebody has begun to wait for it."""
        return self._state != "created"

    def wait(self) -> T_co:
        """Block until the operation has finished and return its result.

        For synchronous stages, each of which has a thread of its own.

        Raises:
            UsageError: This thread runs an event loop, which would stand still.
            StepError: A step failed.
            OperationError: The engine could not do it.
            Cancelled: The stage was cancelled.
        """
        if _loop_is_running():
            message = f"{self.operation}.wait() was called on an event loop, which would stand still"
            raise UsageError(message, hint="use `await` in async code")
        if self._begin():
            try:
                while self._request is not None:
                    self._advance(self._request.wait)
            finally:
                self._finish()
        return self._outcome()

    def __await__(self) -> Generator[Any, Any, T_co]:
        """Wait for the operation in async code; raises as `wait` does, but `asyncio.CancelledError`."""
        return self._drive().__await__()

    async def _drive(self) -> T_co:
        if self._begin():
            try:
                while self._request is not None:
                    await _arrival(self._request)
                    self._advance(self._request.result)
            finally:
                self._finish()
        try:
            return self._outcome()
        except Cancelled:
            raise _cancelled_error() from None

    def send(self, value: Any, /) -> Any:
        """Coroutine protocol, for asyncio."""
        if self._coroutine is None:
            self._coroutine = self._drive()
        return self._coroutine.send(value)

    def throw(
        self,
        typ: type[BaseException] | BaseException,
        val: BaseException | object = None,
        tb: TracebackType | None = None,
        /,
    ) -> Any:
        """Coroutine protocol, for asyncio."""
        if self._coroutine is None:
            self._coroutine = self._drive()
        error = typ if isinstance(typ, BaseException) else val if isinstance(val, BaseException) else typ()
        return self._coroutine.throw(error if tb is None else error.with_traceback(tb))

    def close(self) -> None:
        """Coroutine protocol, for asyncio."""
        if self._coroutine is not None:
            self._coroutine.close()

    def _begin(self) -> bool:
        if self._state == "driven":
            message = f"{self.operation} is already being awaited"
            raise UsageError(message)
        if self._state == "finished":
            return False
        self._state = "driven"
        return True

    def _advance(self, answer: Callable[[], Mapping[str, Any]]) -> None:
        try:
            result = answer()
        except (Exception, Cancelled) as error:  # noqa: BLE001 - the operation may handle it
            failure = error  # the name of the clause is gone when the lambda runs
            self._step(lambda: self._steps.throw(failure))
        else:
            self._step(lambda: self._steps.send(result))

    def _step(self, resume: Callable[[], Ask]) -> None:
        self._request = None
        try:
            self._request = self._call.request(resume())
        except StopIteration as stop:
            self._value = stop.value
        except (Exception, Cancelled) as error:  # noqa: BLE001 - kept for whoever waits
            self._error = error
            self._steps.close()

    def _finish(self) -> None:
        if self._request is not None:
            self._call.withdraw(self._request)
            self._request = None
            self._error = Cancelled()
            self._steps.close()
        self._state = "finished"
        self._call.unfinished.pop(self, None)

    def _outcome(self) -> T_co:
        if self._error is not None:
            raise self._error
        return cast("T_co", self._value)


async def _arrival(request: Request) -> None:
    import asyncio

    loop = asyncio.get_running_loop()
    future: asyncio.Future[None] = loop.create_future()

    def wake() -> None:
        if not future.done():
            future.set_result(None)

    def arrived() -> None:
        try:  # noqa: SIM105 - contextlib costs more than it gives
            loop.call_soon_threadsafe(wake)
        except RuntimeError:
            pass  # the loop was closed, so that nobody waits any more

    request.subscribe(arrived)
    await future


def _cancelled_error() -> BaseException:
    import asyncio

    return asyncio.CancelledError()


def _loop_is_running() -> bool:
    if "asyncio" not in sys.modules:
        return False
    # The statement waits for another thread that is importing it, which looking into `sys.modules` does not.
    import asyncio

    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True
