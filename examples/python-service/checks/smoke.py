"""Start the installed service as a user would, and send one parcel on its way."""

import json
import subprocess
import sys
import urllib.request
from typing import Any


def call(url: str, body: object = None) -> Any:
    data = None if body is None else json.dumps(body).encode()
    with urllib.request.urlopen(url, data, timeout=10) as answer:
        return json.load(answer)


def main() -> None:
    command = [sys.executable, "-m", "parcels", "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as service:
        try:
            assert service.stdout is not None
            url = service.stdout.readline().removeprefix("listening on ").strip()
            health = call(f"{url}/health")
            assert health["status"] == "ok", health
            parcel = call(f"{url}/parcels", {"recipient": "Ada", "place": "Utrecht"})
            moved = call(
                f"{url}/parcels/{parcel['code']}/events",
                {"status": "in_transit", "place": "Leiden"},
            )
            assert [event["place"] for event in moved["events"]] == ["Utrecht", "Leiden"], moved
        finally:
            service.terminate()
    print(f"parcels {health['version']} works")


if __name__ == "__main__":
    main()
