from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import pytest

from parcels.domain import Event, MoveError, Status
from parcels.store import Store, UnknownParcelError

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


@pytest.fixture
def store() -> Iterator[Store]:
    with Store() as store:
        yield store


def test_a_parcel_is_found_again(store: Store) -> None:
    parcel = store.register("Ada", "Utrecht", NOON)
    assert store.find(parcel.code) == parcel
    assert parcel.status is Status.REGISTERED


def test_codes_differ(store: Store) -> None:
    assert len({store.register("Ada", "Utrecht", NOON).code for _ in range(50)}) == 50


def test_unknown(store: Store) -> None:
    with pytest.raises(UnknownParcelError, match="CP000000005NL"):
        store.find("CP000000005NL")


def test_events_are_kept_in_order(store: Store) -> None:
    code = store.register("Ada", "Utrecht", NOON).code
    for place in ("Leiden", "Delft", "Breda"):
        store.record(code, Event(Status.IN_TRANSIT, place, NOON))
    assert [event.place for event in store.find(code).events] == [
        "Utrecht",
        "Leiden",
        "Delft",
        "Breda",
    ]


def test_a_refused_event_leaves_nothing(store: Store) -> None:
    parcel = store.register("Ada", "Utrecht", NOON)
    with pytest.raises(MoveError):
        store.record(parcel.code, Event(Status.DELIVERED, "Leiden", NOON))
    assert store.find(parcel.code) == parcel


def test_count(store: Store) -> None:
    assert store.count() == {}
    first = store.register("Ada", "Utrecht", NOON).code
    store.register("Grace", "Utrecht", NOON)
    store.record(first, Event(Status.IN_TRANSIT, "Leiden", NOON))
    assert store.count() == {Status.IN_TRANSIT: 1, Status.REGISTERED: 1}


def test_parcels_outlive_the_process(tmp_path: Path) -> None:
    path = tmp_path / "parcels.db"
    with Store(path) as store:
        parcel = store.register("Ada", "Utrecht", NOON)
    with Store(path) as store:
        assert store.find(parcel.code) == parcel


def test_threads_share_a_store(store: Store) -> None:
    with ThreadPoolExecutor(8) as threads:
        parcels = list(threads.map(lambda n: store.register(f"{n}", "Utrecht", NOON), range(200)))
    assert len({parcel.code for parcel in parcels}) == 200
    assert store.count() == {Status.REGISTERED: 200}
