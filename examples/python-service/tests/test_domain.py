from datetime import UTC, datetime, timedelta

import pytest

from parcels.domain import (
    MOVES,
    CodeError,
    Event,
    MoveError,
    Parcel,
    Status,
    check_digit,
    make_code,
    move,
    parse_code,
)

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


def parcel(status: Status = Status.REGISTERED) -> Parcel:
    return Parcel("CP473124829NL", "Ada", (Event(status, "Utrecht", NOON),))


@pytest.mark.parametrize(
    ("serial", "digit"),
    [(47312482, 9), (0, 5), (1, 4), (7, 6), (12345678, 5), (99999999, 5), (3, 1), (4, 5), (8, 0)],
)
def test_check_digit(serial: int, digit: int) -> None:
    assert check_digit(serial) == digit


@pytest.mark.parametrize("serial", [0, 1, 42, 47312482, 99999999])
def test_a_code_parses_to_itself(serial: int) -> None:
    code = make_code(serial)
    assert parse_code(code) == code


def test_codes_are_read_as_people_write_them() -> None:
    assert parse_code(" cp 4731 2482 9 nl ") == "CP473124829NL"


@pytest.mark.parametrize("serial", [-1, 100_000_000])
def test_serial_out_of_range(serial: int) -> None:
    with pytest.raises(CodeError, match="eight digits"):
        make_code(serial)


@pytest.mark.parametrize(
    "text",
    ["", "CP", "CP473124829", "473124829NLCP", "CP47312482NLX", "ĊP473124829NL", "CP47312482٩NL"],
)
def test_not_a_code(text: str) -> None:
    with pytest.raises(CodeError, match="not a tracking code"):
        parse_code(text)


def test_every_mistyped_digit_is_noticed() -> None:
    good = "CP473124829NL"
    for place in range(2, 10):
        for digit in "0123456789":
            bad = good[:place] + digit + good[place + 1 :]
            if bad != good:
                with pytest.raises(CodeError, match="check digit"):
                    parse_code(bad)


@pytest.mark.parametrize("before", Status)
@pytest.mark.parametrize("after", Status)
def test_only_listed_moves_are_made(before: Status, after: Status) -> None:
    event = Event(after, "Leiden", NOON)
    if after in MOVES[before]:
        moved = move(parcel(before), event)
        assert moved.status is after
        assert moved.events[-1] == event
    else:
        with pytest.raises(MoveError, match=f"is {before} and cannot become {after}"):
            move(parcel(before), event)


def test_time_does_not_run_backwards() -> None:
    with pytest.raises(MoveError, match="seen later"):
        move(parcel(), Event(Status.IN_TRANSIT, "Leiden", NOON - timedelta(seconds=1)))


def test_every_status_has_its_moves() -> None:
    assert set(MOVES) == set(Status)
