import pytest

from parcels import __version__

from .conftest import Client


@pytest.fixture
def code(client: Client) -> str:
    answer = client.post("/parcels", {"recipient": "Ada", "place": "Utrecht"})
    assert answer.status == 201
    return str(answer.json["code"])


def test_health(client: Client) -> None:
    answer = client.get("/health")
    assert answer.json == {"status": "ok", "version": __version__}


def test_register(client: Client) -> None:
    answer = client.post("/parcels", {"recipient": "Ada", "place": "Utrecht"})
    assert answer.status == 201
    assert answer.headers["location"] == "/parcels/CP000000014NL"
    assert answer.json == {
        "code": "CP000000014NL",
        "recipient": "Ada",
        "status": "registered",
        "events": [{"status": "registered", "place": "Utrecht", "at": "2026-03-01T12:01:00+00:00"}],
    }


def test_show(client: Client, code: str) -> None:
    assert client.get(f"/parcels/{code}").json["recipient"] == "Ada"
    assert client.get(f"/parcels/{code.lower()}").json["code"] == code


def test_the_whole_way(client: Client, code: str) -> None:
    for status in ("in_transit", "out_for_delivery", "delivered"):
        answer = client.post(f"/parcels/{code}/events", {"status": status, "place": "Leiden"})
        assert answer.status == 200
        assert answer.json["status"] == status
    assert len(client.get(f"/parcels/{code}").json["events"]) == 4
    assert client.get("/parcels").json == {"delivered": 1}


def test_unknown_parcel(client: Client) -> None:
    answer = client.get("/parcels/CP473124829NL")
    assert answer.status == 404
    assert answer.json == {"error": "there is no parcel CP473124829NL"}


def test_mistyped_code(client: Client) -> None:
    answer = client.get("/parcels/CP473124828NL")
    assert answer.status == 400
    assert "mistyped" in answer.json["error"]


def test_impossible_move(client: Client, code: str) -> None:
    answer = client.post(f"/parcels/{code}/events", {"status": "delivered", "place": "Leiden"})
    assert answer.status == 409
    assert answer.json["error"].endswith("is registered and cannot become delivered")


def test_unknown_status(client: Client, code: str) -> None:
    answer = client.post(f"/parcels/{code}/events", {"status": "lost", "place": "Leiden"})
    assert answer.status == 400
    assert "not one of registered, in_transit" in answer.json["error"]


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "not JSON"),
        (b"{", "not JSON"),
        (b"\xff", "not JSON"),
        (b"[]", "not a JSON object"),
        (b"{}", "'recipient' must be a text"),
        (b'{"recipient": "", "place": "Utrecht"}', "'recipient' must be a text"),
        (b'{"recipient": "Ada", "place": 7}', "'place' must be a text"),
        (b'{"recipient": "Ada", "place": "' + b"x" * 201 + b'"}', "'place' must be a text"),
        (b" " * (16 * 1024 + 1), "longer than 16384 bytes"),
    ],
)
def test_bad_body(client: Client, body: bytes, message: str) -> None:
    answer = client.post("/parcels", body)
    assert answer.status == 400
    assert message in answer.json["error"]
