"""The worker: the process that hosts the functions of a pipeline program for the engine.

The engine starts it as

    PYTHON -I -S -X utf8 SDK/towpath/_boot.py

with `TOWPATH_FDS=READ,WRITE` in its environment, where SDK is the folder that contains this package.

A reader thread takes the messages and answers `ping`. Programs are loaded on the main thread, and async stages run there on an event
loop, which is imported for the first of them. Every call of a synchronous stage has a thread of its own.
"""

from __future__ import annotations

import os
import sys
import threading
from _queue import SimpleQueue
from collections.abc import Callable, Mapping
from contextvars import copy_context
from typing import Any, NamedTuple, NoReturn

from towpath import _plan, _record, _wire
from towpath._errors import Cancelled, OperationError, PipelineError, StepError, UsageError
from towpath._failure import failure
from towpath._json import EncodeError, TooDeepError, canonical
from towpath._operations import cut
from towpath._pending import MAX_OPEN_REQUESTS, Ask, Call, Request, current_call
from towpath._program import Program
from towpath._site import relative
from towpath._types import MismatchError
from towpath._version import __version__

TYPE_CHECKING = False
if TYPE_CHECKING:
    from asyncio import AbstractEventLoop, Task

    from towpath._declare import Declaration

PROTOCOL = 1
CAPABILITIES = ("cancel", "describe", "load", "ping", "stage.call")
STEP_FEATURES = ("network", "root", "limits")  # of step.run; each has a capability of its own
MAX_VALUE_BYTES = 4 << 20
VIOLATION_STATUS = 70

Message = dict[str, Any]


class RefusedError(Exception):
    """A request of the engine that is answered with an error of its own."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


class Connection:
    """The messages of both sides: who is owed which answer."""

    def __init__(self, pipe: _wire.Pipe) -> None:
        self._pipe = pipe
        self._lock = threading.Lock()
        self._last = 0
        self._open: dict[int, Request] = {}
        self.capabilities: frozenset[str] = frozenset()

    def receive(self) -> list[Message] | None:
        """Block until messages arrive; None at the end."""
        return self._pipe.receive()

    def request(self, ask: Ask) -> Request:
        """Send a request; it is settled when the answer arrives."""
        self.require(ask.method)
        if ask.method == "step.run":
            for feature in STEP_FEATURES:
                if feature in ask.params:
                    self.require(f"{ask.method}:{feature}")
        with self._lock:
            if len(self._open) >= MAX_OPEN_REQUESTS:
                message = f"{ask.method}: more than {MAX_OPEN_REQUESTS} operations at once"
                raise OperationError(message, code="too_large", hint="wait for some of them before you start more")
            self._last += 1
            request = Request(self._last)
            self._open[request.id] = request
        try:
            self._send({"id": request.id, "method": ask.method, "params": ask.params})
        except BaseException:
            with self._lock:
                del self._open[request.id]
            raise
        return request

    def notify(self, ask: Ask) -> None:
        """Send a notification."""
        if ask.method != "cancel":
            self.require(ask.method)
        self._send({"method": ask.method, "params": ask.params})

    def answer(self, ident: int, member: str, content: Message) -> None:
        """Answer a request of the engine with a `result` or an `error`."""
        try:
            self._pipe.send({"id": ident, member: content})
        except (EncodeError, TooDeepError, _wire.FrameTooLongError) as error:
            code = "internal" if isinstance(error, EncodeError) else "too_large"
            message = f"the answer cannot be sent: {error}"
            self._pipe.send({"id": ident, "error": {"code": code, "message": message}})

    def settle(self, message: Message) -> None:
        """Take an answer of the engine."""
        with self._lock:
            request = self._open.pop(message["id"], None)
        has_result, has_error = isinstance(message.get("result"), dict), isinstance(message.get("error"), dict)
        if request is None or has_result == has_error:
            text = f"a response to {message['id']}, which is not open" if request is None else "a malformed response"
            raise _wire.ViolationError(text)
        if has_result:
            request.settle(message["result"])
        else:
            request.settle(error=_engine_error(message["error"]))

    def require(self, method: str) -> None:
        """Check that the engine knows a method."""
        if method not in self.capabilities:
            message = f"this engine does not support {method}"
            raise OperationError(message, code="unsupported", hint="use a newer version of tow")

    def _send(self, message: Message) -> None:
        try:
            self._pipe.send(message)
        except EncodeError as error:
            text = f"{message['method']}: {error}"
            raise OperationError(text, code="invalid") from None
        except _wire.FrameTooLongError:
            text = f"{message['method']}: the request is longer than 64 MiB"
            raise OperationError(text, code="too_large") from None


def _engine_error(error: Mapping[str, Any]) -> BaseException:
    code, message, hint = str(error.get("code")), str(error.get("message")), error.get("hint")
    if code == "cancelled":
        return Cancelled(message)
    step = error.get("step")
    if code == "step_failed" and isinstance(step, dict):
        return StepError(message, exit_code=step["exit_code"], command=step["args"], hint=hint)
    return OperationError(message, code=code, hint=hint)


class StageCall(Call):
    """A `stage.call` of the engine that has not been answered."""

    def __init__(self, ident: int, declaration: Declaration, connection: Connection) -> None:
        super().__init__()
        self.ident = ident
        self.declaration = declaration
        self.cancelled = False
        self.cancelled_operation = False
        self._connection = connection
        self._lock = threading.Lock()
        self._ended = False
        self._waiting: dict[Request, None] = {}
        self._stop: Callable[[], object] | None = None

    def request(self, ask: Ask) -> Request:
        """Send a request on behalf of this call."""
        self.check_cancelled()
        self._check_running(ask)
        request = self._connection.request(Ask(ask.method, {**ask.params, "call": self.ident}))
        with self._lock:
            self._waiting[request] = None
        request.subscribe(lambda: self._settled(request))
        if self.cancelled:
            self.withdraw(request)
        return request

    def notify(self, ask: Ask) -> None:
        """Send a notification on behalf of this call."""
        self._check_running(ask)
        self._connection.notify(Ask(ask.method, {**ask.params, "call": self.ident}))

    def withdraw(self, request: Request) -> None:
        """Give a request up: whoever waits for it sees `Cancelled`, and the engine is told."""
        with self._lock:
            if self._waiting.pop(request, self) is self:
                return
        if request.settle(error=Cancelled()):
            self._connection.notify(Ask("cancel", {"id": request.id}))

    def stop_with(self, stop: Callable[[], object]) -> None:
        """Have `stop` called where the call is cancelled, at once if it has been."""
        with self._lock:
            self._stop = stop
            too_late = self.cancelled
        if too_late:
            stop()

    def cancel(self) -> None:
        """Have the function stop as soon as it can."""
        with self._lock:
            # A second cancellation would interrupt what the function does because of the first.
            stop = None if self.cancelled else self._stop
            self.cancelled = True
        if stop is not None:
            stop()
        for request in list(self._waiting):
            self.withdraw(request)

    def end(self) -> None:
        """Note that the function has returned: nothing may be asked for any more."""
        self._ended = True
        for request in list(self._waiting):
            self.withdraw(request)

    def check_cancelled(self) -> None:
        """Raise Cancelled where the call has been cancelled."""
        if self.cancelled:
            raise Cancelled

    def _settled(self, request: Request) -> None:
        with self._lock:
            ours = self._waiting.pop(request, self) is not self
        if ours and request.was_cancelled:
            self.cancelled_operation = True

    def _check_running(self, ask: Ask) -> None:
        if self._ended:
            message = f"{ask.method} was asked for after stage {self.declaration.name!r} had ended"
            raise UsageError(message, hint="wait for threads and tasks before the stage function returns")


class Outcome(NamedTuple):
    """How a stage function ended."""

    value: object = None
    error: BaseException | None = None


class Worker:
    """Answers the requests of the engine."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._jobs: SimpleQueue[Callable[[], object]] = SimpleQueue()
        self._lock = threading.Lock()
        self._loop: AbstractEventLoop | None = None
        self._tasks: set[Task[None]] = set()
        self._calls: dict[int, StageCall] = {}
        self._seen: set[int] = set()
        self._greeted = False
        self._program: Program | None = None
        self._recorder: _record.Recorder | None = None
        self._signatures: dict[Declaration, _plan.Signature] = {}

    # The reader thread

    def read(self) -> NoReturn:
        """Take messages until the connection ends, and the process with it."""
        try:
            while (messages := self._connection.receive()) is not None:
                for message in messages:
                    self._take(message)
        except _wire.ViolationError as error:
            print(f"towpath: the engine broke the protocol: {error}", file=sys.stderr)
            _wire.leave(VIOLATION_STATUS)
        except OSError:
            pass
        except BaseException as error:  # noqa: BLE001 - a worker without its reader would hang for ever
            print(f"towpath: internal error: {error!r}", file=sys.stderr)
            _wire.leave(VIOLATION_STATUS)
        _wire.leave(0)

    def _take(self, message: Message) -> None:
        ident, method, params = message.get("id"), message.get("method"), message.get("params")
        if "id" in message and (type(ident) is not int or not 1 <= ident <= _wire.MAX_ID):
            text = f"a message with the id {ident!r}"
            raise _wire.ViolationError(text)
        if method is None and ident is not None and "params" not in message:
            self._connection.settle(message)
        elif not isinstance(method, str) or not isinstance(params, dict):
            text = "a message that is no request, response or notification"
            raise _wire.ViolationError(text)
        elif ident is None:
            self._take_notification(method, params)
        else:
            self._take_request(ident, method, params)

    def _take_notification(self, method: str, params: Message) -> None:
        if method != "cancel" or not self._greeted:
            text = f"an unexpected notification {method!r}"
            raise _wire.ViolationError(text)
        call = self._calls.get(params.get("id", 0))
        if call is not None:
            call.cancel()

    def _take_request(self, ident: int, method: str, params: Message) -> None:
        if ident in self._seen:
            text = f"a second request with the id {ident}"
            raise _wire.ViolationError(text)
        self._seen.add(ident)
        if not self._greeted and method != "hello":
            text = f"{method!r} before `hello`"
            raise _wire.ViolationError(text)
        match method:
            case "hello":
                self._reply(ident, lambda: self._hello(params))
            case "ping":
                self._connection.answer(ident, "result", {})
            case "describe":
                self._post(lambda: self._reply(ident, lambda: self._describe(params)))
            case "load":
                self._post(lambda: self._reply(ident, lambda: self._load(params)))
            case "stage.call":
                # The call has to be known before the next message, which may cancel it.
                self._reply(ident, lambda: self._prepare(ident, params))
            case _:
                self._reply(ident, lambda: _refuse("unsupported", f"unknown method {method!r}"))

    def _hello(self, params: Message) -> Message:
        if self._greeted:
            text = "a second `hello`"
            raise _wire.ViolationError(text)
        match params:
            case {"protocol": {"min": int(low), "max": int(high)}, "capabilities": list(capabilities)}:
                pass
            case _:
                _refuse("invalid", "hello needs `protocol` and `capabilities`")
        if not low <= PROTOCOL <= high:
            _refuse(
                "unsupported",
                f"the engine speaks the protocol versions {low} to {high}, and towpath {__version__} for Python {PROTOCOL} to {PROTOCOL}",
            )
        self._connection.capabilities = frozenset(name for name in capabilities if isinstance(name, str))
        self._greeted = True
        runtime = f"{sys.implementation.name} {sys.version_info.major}.{sys.version_info.minor}"
        return {
            "protocol": PROTOCOL,
            "sdk": {"language": "python", "version": __version__, "runtime": runtime},
            "capabilities": list(CAPABILITIES),
        }

    def _reply(self, ident: int, answer: Callable[[], Message | None]) -> None:
        """Answer with what a function returns or raises; None where the answer comes later."""
        try:
            result = answer()
        except RefusedError as error:
            self._connection.answer(ident, "error", {"code": error.code, "message": cut(error.message)})
        except _wire.ViolationError:
            raise
        except PipelineError as error:
            self._connection.answer(ident, "error", failure(error, None))
        except Exception as error:  # noqa: BLE001 - the engine is owed an answer
            content = failure(error, None)
            self._connection.answer(ident, "error", {**content, "code": "internal"})
        else:
            if result is not None:
                self._connection.answer(ident, "result", result)

    # The main thread

    def serve(self) -> NoReturn:
        """Run the jobs of the main thread for ever: from the queue, and once there is an event loop, from that."""
        while self._loop is None:
            self._jobs.get()()
        while True:
            try:
                self._loop.run_forever()
            except (SystemExit, KeyboardInterrupt):
                continue  # of a stage, whose task has failed with it; the others go on

    def _post(self, job: Callable[[], object]) -> None:
        with self._lock:
            if self._loop is None:
                self._jobs.put(job)
            else:
                self._loop.call_soon_threadsafe(job)

    def _start_loop(self) -> AbstractEventLoop:
        if self._loop is None:
            import asyncio

            loop = asyncio.new_event_loop()
            asyncio.set_event_loop(loop)
            with self._lock:
                while not self._jobs.empty():
                    loop.call_soon(self._jobs.get())
                self._loop = loop
        return self._loop

    def _open_program(self, params: Message) -> Program:
        match params:
            case {"program": str(path), "root": str(root)} if os.path.isabs(path) and os.path.isabs(root):
                path, root = os.path.normpath(path), os.path.normpath(root)
            case _:
                _refuse("invalid", "`program` and `root` are absolute paths")
        if self._program is None:
            recorder = _record.Recorder(root)
            self._program = Program(path, root, recorder)
            self._recorder = recorder
        elif (self._program.path, self._program.root) != (path, root):
            _refuse("invalid", f"this worker has loaded {self._program.path}")
        return self._program

    def _describe(self, params: Message) -> Message:
        result = self._open_program(params).describe()
        return {**result, **self._recorded()}

    def _load(self, params: Message) -> Message:
        self._open_program(params)
        return self._recorded()

    def _recorded(self) -> Message:
        if self._recorder is not None:
            self._recorder.finish_loading()
        return self._reads(late=False)

    def _reads(self, *, late: bool) -> Message:
        recorder = self._recorder
        if recorder is None:
            return {"files": [], "folders": []}
        return {"files": recorder.files(late=late), "folders": recorder.folders(late=late)}

    # Calls of stages

    def _prepare(self, ident: int, params: Message) -> None:
        match params:
            case {"stage": str(), "function": str(name), "inputs": dict(inputs)}:
                pass
            case _:
                _refuse("invalid", "stage.call needs `stage`, `function` and `inputs`")
        if self._program is None:
            _refuse("invalid", "no program has been loaded")
        declaration = self._program.functions.get(name)
        if declaration is None:
            _refuse("invalid", f"the program has no stage function {name!r}")
        call = StageCall(ident, declaration, self._connection)
        self._calls[ident] = call
        if _is_async(declaration):
            self._post(lambda: self._start_task(call, inputs))
        else:
            thread = threading.Thread(target=copy_context().run, args=(self._run_thread, call, inputs), name=params["stage"], daemon=True)
            thread.start()

    def _run_thread(self, call: StageCall, inputs: Message) -> None:
        current_call.set(call)
        try:
            arguments = self._decode(call.declaration, inputs)
            call.check_cancelled()
            outcome = Outcome(call.declaration.function(**arguments))
        except BaseException as error:  # noqa: BLE001 - whatever it is, the engine is owed an answer
            outcome = Outcome(error=error)
        self._finish(call, outcome)

    def _start_task(self, call: StageCall, inputs: Message) -> None:
        loop = self._start_loop()
        task = loop.create_task(self._run_task(call, inputs), name=call.declaration.name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _run_task(self, call: StageCall, inputs: Message) -> None:
        import asyncio

        current_call.set(call)
        try:
            arguments = self._decode(call.declaration, inputs)
            call.check_cancelled()
            started = call.declaration.function(**arguments)
            if asyncio.iscoroutine(started):
                task = asyncio.get_running_loop().create_task(started)
                call.stop_with(lambda: self._post(task.cancel))
                await asyncio.wait([task])
                started = task.result()
            outcome = Outcome(started)
        except asyncio.CancelledError:
            outcome = Outcome(error=Cancelled())
        except BaseException as error:  # noqa: BLE001 - whatever it is, the engine is owed an answer
            outcome = Outcome(error=error)
        self._finish(call, outcome)

    def _decode(self, declaration: Declaration, inputs: Message) -> Message:
        signature = self._signature(declaration)
        missing = [name for name in declaration.arguments if name not in inputs]
        unknown = [name for name in inputs if name not in declaration.arguments]
        if missing or unknown:
            _refuse("invalid", f"stage {declaration.name!r}: missing inputs {missing}, unknown inputs {unknown}")
        try:
            return {
                name: kind.decode(inputs[name], f"input {name!r} of stage {declaration.name!r}")
                for name, kind in signature.inputs.items()
                if kind is not None
            }
        except MismatchError as error:
            _refuse("invalid", str(error))

    def _signature(self, declaration: Declaration) -> _plan.Signature:
        if declaration not in self._signatures:
            signature = _plan.signature(declaration)
            _plan.raise_problems(signature.problems, self._root())
            self._signatures[declaration] = signature
        return self._signatures[declaration]

    def _root(self) -> str | None:
        return self._program.root if self._program is not None else None

    def _finish(self, call: StageCall, outcome: Outcome) -> None:
        try:
            answer = self._answer(call, outcome)
        except BaseException as error:  # noqa: BLE001 - the engine is owed an answer
            answer = ("error", {**failure(error, self._root()), "code": "internal"})
        call.end()
        for stream in (sys.stdout, sys.stderr):
            try:
                stream.flush()
            except (OSError, ValueError, AttributeError):
                continue  # the user closed or replaced it
        del self._calls[call.ident]
        self._connection.answer(call.ident, *answer)

    def _answer(self, call: StageCall, outcome: Outcome) -> tuple[str, Message]:
        name = call.declaration.name
        error = outcome.error
        if isinstance(error, RefusedError):
            return "error", {"code": error.code, "message": cut(error.message)}
        if call.cancelled_operation or (error is not None and call.cancelled):
            error = Cancelled()
        if error is not None:
            return "error", failure(error, self._root())
        if call.unfinished:
            return "error", self._unfinished(call)
        output = self._signature(call.declaration).output
        try:
            value = output.encode(outcome.value, f"the result of stage {name!r}") if output is not None else None
            size = len(canonical(value))
        except MismatchError as mismatch:
            return "error", self._at_stage(call, "failed", str(mismatch))
        except TooDeepError as too_deep:
            return "error", self._at_stage(call, "too_large", f"stage {name!r}: {too_deep}")
        if size > MAX_VALUE_BYTES:
            text = f"the result of stage {name!r} takes {size} bytes, more than {MAX_VALUE_BYTES}"
            return "error", {**self._at_stage(call, "too_large", text), "hint": "return a File"}
        return "result", {"value": value, **self._reads(late=True)}

    def _at_stage(self, call: StageCall, code: str, message: str) -> Message:
        site = call.declaration.site
        return {
            "code": code,
            "message": cut(message),
            "site": {"file": relative(site.file, self._root()), "line": site.line},
        }

    def _unfinished(self, call: StageCall) -> Message:
        texts = []
        for pending in call.unfinished:
            where = f"{pending.operation} at {relative(pending.site.file, self._root())}:{pending.site.line}"
            texts.append(f"{where} was {'not finished' if pending.was_awaited else 'never awaited'}")
        first = next(iter(call.unfinished)).site
        hint = "await it" if _is_async(call.declaration) else "call .wait() on it"
        return {
            "code": "failed",
            "message": cut("; ".join(texts)),
            "hint": f"{hint} before the stage returns",
            "site": {"file": relative(first.file, self._root()), "line": first.line},
        }


def _is_async(declaration: Declaration) -> bool:
    coroutine_flag = 0x80
    codes = (getattr(declaration.function, "__code__", declaration.plain.__code__), declaration.plain.__code__)
    return any(code.co_flags & coroutine_flag for code in codes)


def _refuse(code: str, message: str) -> NoReturn:
    raise RefusedError(code, message)


def main() -> NoReturn:
    """Serve the engine that started this process, until it closes the connection."""
    descriptors = os.environ.pop("TOWPATH_FDS", None)
    if descriptors is None:
        sys.exit("towpath: a worker is started by tow, which sets TOWPATH_FDS")
    reading, writing = map(int, descriptors.split(","))
    for descriptor in (reading, writing):
        os.set_inheritable(descriptor, False)  # noqa: FBT003
    pipe = _wire.Pipe(reading, writing)
    os.register_at_fork(after_in_child=pipe.close)
    _ignore_interrupts()
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(line_buffering=True)
    worker = Worker(Connection(pipe))
    threading.Thread(target=worker.read, name="towpath-reader", daemon=True).start()
    worker.serve()


def _ignore_interrupts() -> None:
    """Leave Ctrl-C, which reaches every process of the terminal, to the engine: it cancels what has to stop."""
    from signal import SIGINT, signal

    # Not SIG_IGN, which the programs that a stage starts would inherit.
    signal(SIGINT, lambda _number, _frame: None)
