import socket

import pytest
import uvicorn

from parcels import __version__
from parcels.__main__ import main


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["--version"])
    assert stop.value.code == 0
    assert capsys.readouterr().out == f"{__version__}\n"


def test_it_listens_on_a_free_port(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    ports: list[int] = []

    def run(server: uvicorn.Server, sockets: list[socket.socket]) -> None:
        ports.extend(listener.getsockname()[1] for listener in sockets)

    monkeypatch.setattr(uvicorn.Server, "run", run)
    assert main(["--port", "0"]) == 0
    assert capsys.readouterr().out == f"listening on http://127.0.0.1:{ports[0]}\n"
