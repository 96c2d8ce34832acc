"""Frames and messages over two pipes: sections 1 and 2 of the protocol's specification."""

from __future__ import annotations

import os
from _thread import allocate_lock
from contextlib import suppress
from typing import Any, NoReturn

from towpath._json import MAX_FRAME_DEPTH, DecodeError, canonical, parse_object

MAX_FRAME = 64 << 20
MAX_ID = (1 << 53) - 1
HEADER = 4


class ViolationError(Exception):
    """The other side broke the protocol; the connection is of no use any more."""


class Frames:
    """Splits bytes into frames, as they arrive."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[dict[str, Any]]:
        """Take bytes and return the messages that they complete.

        Raises:
            ViolationError: A frame is too long, empty, or no JSON object.
        """
        self._buffer += data
        messages = []
        start = 0
        while len(self._buffer) - start >= HEADER:
            length = int.from_bytes(self._buffer[start : start + HEADER], "big")
            if not 1 <= length <= MAX_FRAME:
                message = f"a frame of {length} bytes"
                raise ViolationError(message)
            end = start + HEADER + length
            if len(self._buffer) < end:
                break
            messages.append(_parsed(bytes(self._buffer[start + HEADER : end])))
            start = end
        del self._buffer[:start]
        return messages

    def end(self) -> None:
        """Take the end of the connection.

        Raises:
            ViolationError: It is inside of a frame.
        """
        if self._buffer:
            message = "the connection ended inside of a frame"
            raise ViolationError(message)


def _parsed(data: bytes) -> dict[str, Any]:
    try:
        return parse_object(data)
    except DecodeError as error:
        raise ViolationError(str(error)) from None


class FrameTooLongError(Exception):
    """A message that does not fit into a frame."""

    def __init__(self) -> None:
        super().__init__(f"it is longer than {MAX_FRAME} bytes")


def frame(message: dict[str, Any]) -> bytes:
    """Encode a message.

    Raises:
        FrameTooLongError: It takes more than 64 MiB.
    """
    data = canonical(message, MAX_FRAME_DEPTH)
    if len(data) > MAX_FRAME:
        raise FrameTooLongError
    return len(data).to_bytes(HEADER, "big") + data


class Pipe:
    """The two pipes to the engine."""

    def __init__(self, reading: int, writing: int) -> None:
        self._reading = reading
        self._writing = writing
        self._lock = allocate_lock()
        self._frames = Frames()

    def receive(self) -> list[dict[str, Any]] | None:
        """Block until messages arrive, and return them; None at the end of the connection.

        Raises:
            ViolationError: The engine broke the protocol.
        """
        while True:
            data = os.read(self._reading, 1 << 18)
            if not data:
                self._frames.end()
                return None
            if messages := self._frames.feed(data):
                return messages

    def send(self, message: dict[str, Any]) -> None:
        """Write a message, whole, from any thread. Ends the process where the engine is gone.

        Raises:
            EncodeError, FrameTooLongError: It cannot be sent; nothing was written.
        """
        view = memoryview(frame(message))
        with self._lock:
            try:
                while view:
                    view = view[os.write(self._writing, view) :]
            except OSError:
                leave(0)

    def close(self) -> None:
        """Close both ends in a forked child, which would keep the engine from seeing that its worker is gone."""
        os.close(self._reading)
        os.close(self._writing)


def leave(status: int) -> NoReturn:
    """End the process at once; functions that still run are not waited for."""
    import sys
    from threading import Thread

    def flush() -> None:
        for stream in (sys.stdout, sys.stderr):
            with suppress(Exception):  # nobody is left to be told
                stream.flush()

    # Nobody may read the other end of the streams any more, which would block for ever.
    flusher = Thread(target=flush, daemon=True)
    flusher.start()
    flusher.join(1.0)
    os._exit(status)
