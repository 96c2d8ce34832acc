"""A tiny engine: it starts a real worker and speaks the protocol with it over pipes, by hand."""

from __future__ import annotations

import json
import os
import selectors
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

SDK = Path(__file__).resolve().parent.parent / "src"
CAPABILITIES = (
    "blob.append",
    "blob.begin",
    "blob.commit",
    "directory.filter",
    "directory.get",
    "directory.list",
    "directory.make",
    "file.read",
    "log",
    "report.parse",
    "step.run",
    "step.run:limits",
    "step.run:network",
    "step.run:root",
    "tool.find",
)
EMPTY = {
    "$file": {
        "digest": "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855/0",
        "executable": False,
        "name": "stdout",
    }
}
TREE = {"$directory": {"digest": "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855/0"}}
STEP = {"exit_code": 0, "cached": False, "stdout": EMPTY, "stderr": EMPTY, "outputs": [], "tree": TREE}
TIMEOUT = 20.0

Message = dict[str, Any]


class Engine:
    """One worker, and the messages that it has sent."""

    def __init__(self, folder: Path, environment: dict[str, str] | None = None) -> None:
        self.folder = folder
        worker_reads, self.writing = os.pipe()
        self.reading, worker_writes = os.pipe()
        self.process = subprocess.Popen(
            [sys.executable, "-I", "-S", "-X", "utf8", SDK / "towpath" / "_boot.py"],
            env={**os.environ, "TOWPATH_FDS": f"{worker_reads},{worker_writes}", **(environment or {})},
            pass_fds=(worker_reads, worker_writes),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        os.close(worker_reads)
        os.close(worker_writes)
        self._last = 0
        self._buffer = b""
        self._received: list[Message] = []

    def close(self) -> None:
        """End the connection and the worker."""
        self.hang_up()
        try:
            self.process.communicate(timeout=TIMEOUT)
        finally:
            self.process.kill()
            os.close(self.reading)

    def hang_up(self) -> None:
        """Close the engine's end, as its death does."""
        if self.writing >= 0:
            os.close(self.writing)
            self.writing = -1

    # Messages

    def send_bytes(self, data: bytes) -> None:
        """Send bytes as they are."""
        os.write(self.writing, data)

    def send(self, message: Message) -> None:
        """Send a message."""
        data = json.dumps(message).encode()
        self.send_bytes(len(data).to_bytes(4, "big") + data)

    def request(self, method: str, params: Message) -> int:
        """Send a request and return its id."""
        self._last += 1
        self.send({"id": self._last, "method": method, "params": params})
        return self._last

    def ask(self, method: str, params: Message) -> Message:
        """Send a request and return its answer."""
        return self.answer_to(self.request(method, params))

    def result(self, method: str, params: Message) -> Message:
        """Send a request and return its result."""
        answer = self.ask(method, params)
        assert "result" in answer, answer
        result: Message = answer["result"]
        return result

    def error(self, method: str, params: Message) -> Message:
        """Send a request and return its error."""
        answer = self.ask(method, params)
        assert "error" in answer, answer
        error: Message = answer["error"]
        return error

    def answer_to(self, ident: int) -> Message:
        """Return the answer to a request."""
        return self.wait_for(lambda message: "method" not in message and message["id"] == ident)

    def asked(self, method: str) -> Message:
        """Return the next request or notification of the worker for `method`."""
        return self.wait_for(lambda message: message.get("method") == method)

    def reply(self, request: Message, result: Message) -> None:
        """Answer a request of the worker."""
        self.send({"id": request["id"], "result": result})

    def refuse(self, request: Message, **error: Any) -> None:
        """Answer a request of the worker with an error."""
        self.send({"id": request["id"], "error": error})

    def wait_for(self, wanted: Callable[[Message], bool]) -> Message:
        """Return the first message that is wanted and was not returned before."""
        deadline = time.monotonic() + TIMEOUT
        while True:
            for index, message in enumerate(self._received):
                if wanted(message):
                    return self._received.pop(index)
            self._receive(deadline)

    def _receive(self, deadline: float) -> None:
        with selectors.DefaultSelector() as selector:
            selector.register(self.reading, selectors.EVENT_READ)
            ready = selector.select(max(0.0, deadline - time.monotonic()))
        data = os.read(self.reading, 1 << 20) if ready else b""
        if not data:
            self.process.kill()
            _, stderr = self.process.communicate()
            reason = "the worker has gone" if ready else "the worker does not answer"
            message = f"{reason}; it has sent {self._received}, and on stderr: {stderr.decode()}"
            raise AssertionError(message)
        self._buffer += data
        while len(self._buffer) >= 4 and len(self._buffer) >= 4 + (length := int.from_bytes(self._buffer[:4], "big")):
            self._received.append(json.loads(self._buffer[4 : 4 + length]))
            self._buffer = self._buffer[4 + length :]

    # What most tests do

    def hello(self, capabilities: tuple[str, ...] = CAPABILITIES) -> Message:
        """Shake hands."""
        return self.result(
            "hello",
            {
                "protocol": {"min": 1, "max": 1},
                "engine": {"name": "tow", "version": "test"},
                "capabilities": list(capabilities),
            },
        )

    def program(self) -> Message:
        """Return the parameters of describe and load."""
        return {"program": str(self.folder / "pipeline.py"), "root": str(self.folder)}

    def call(self, stage: str, **inputs: Any) -> int:
        """Call a stage."""
        return self.request("stage.call", {"stage": stage, "function": stage, "inputs": inputs})

    def exit_status(self) -> int:
        """Wait for the end of the worker."""
        return self.process.wait(TIMEOUT)
