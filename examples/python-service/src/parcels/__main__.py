"""Start the service: `python -m parcels --port 8080 --data parcels.db`."""

import argparse
import socket
import sys
from collections.abc import Sequence

import uvicorn

from parcels import __version__
from parcels.app import create_app
from parcels.store import Store


def main(argv: Sequence[str] | None = None) -> int:
    """Serve until interrupted."""
    parser = argparse.ArgumentParser(prog="parcels", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (%(default)s)")
    parser.add_argument("--port", default=8080, type=int, help="port; 0 takes a free one")
    parser.add_argument("--data", default=":memory:", help="file to keep the parcels in")
    parser.add_argument("--version", action="version", version=__version__)
    args = parser.parse_args(argv)

    with Store(args.data) as store, socket.create_server((args.host, args.port)) as listener:
        host, port = listener.getsockname()[:2]
        print(f"listening on http://{host}:{port}", flush=True)
        server = uvicorn.Server(uvicorn.Config(create_app(store), log_level="warning"))
        server.run(sockets=[listener])
    return 0


if __name__ == "__main__":
    sys.exit(main())
