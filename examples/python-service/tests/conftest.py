import http.client
import json
import socket
import threading
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import uvicorn
from starlette.types import ASGIApp, Receive, Scope, Send

from parcels.app import create_app
from parcels.store import Store


class Clock:
    """A minute passes each time that somebody looks."""

    def __init__(self) -> None:
        self.now = datetime(2026, 3, 1, 12, tzinfo=UTC)

    def __call__(self) -> datetime:
        self.now += timedelta(minutes=1)
        return self.now


@dataclass(frozen=True)
class Answer:
    status: int
    headers: Mapping[str, str]
    json: Any


class Client:
    """Speaks to the service over a real connection."""

    def __init__(self, host: str, port: int) -> None:
        self._address = (host, port)

    def get(self, path: str) -> Answer:
        return self._request("GET", path)

    def post(self, path: str, body: object) -> Answer:
        return self._request("POST", path, body if isinstance(body, bytes) else json.dumps(body))

    def _request(self, method: str, path: str, body: bytes | str | None = None) -> Answer:
        with closing(http.client.HTTPConnection(*self._address, timeout=10)) as connection:
            connection.request(method, path, body)
            response = connection.getresponse()
            return Answer(response.status, dict(response.getheaders()), json.load(response))


class Current:
    """An application that hands every request to the one of the running test."""

    def __init__(self) -> None:
        self.app: ASGIApp | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        assert self.app is not None
        await self.app(scope, receive, send)


@pytest.fixture(scope="session")
def server() -> Iterator[tuple[Current, Client]]:
    """A server on a free port, started once since starting and stopping it takes a while."""
    current = Current()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = uvicorn.Server(uvicorn.Config(current, lifespan="off", log_level="warning"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            yield current, Client(*listener.getsockname())
        finally:
            server.should_exit = True
            thread.join()


@pytest.fixture
def client(server: tuple[Current, Client]) -> Iterator[Client]:
    """A client of the service, which has no parcels yet."""
    current, client = server
    with Store() as store:
        current.app = create_app(store, Clock())
        yield client
