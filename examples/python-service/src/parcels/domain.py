"""What a parcel is, and which way it may go."""

import re
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from types import MappingProxyType
from typing import Final

_CODE: Final = re.compile(r"[A-Z]{2}[0-9]{9}[A-Z]{2}")
_WEIGHTS: Final = (8, 6, 4, 2, 3, 5, 9, 7)
_MAX_SERIAL: Final = 10**8


class ParcelError(Exception):
    """The request makes no sense for this parcel."""


class CodeError(ParcelError):
    """The text is not a tracking code."""


class MoveError(ParcelError):
    """The parcel cannot go from its status to the one asked for."""


class Status(StrEnum):
    """Where a parcel is on its way."""

    REGISTERED = "registered"
    IN_TRANSIT = "in_transit"
    OUT_FOR_DELIVERY = "out_for_delivery"
    DELIVERED = "delivered"
    RETURNED = "returned"


MOVES: Final = MappingProxyType(
    {
        Status.REGISTERED: frozenset({Status.IN_TRANSIT}),
        Status.IN_TRANSIT: frozenset({Status.IN_TRANSIT, Status.OUT_FOR_DELIVERY, Status.RETURNED}),
        Status.OUT_FOR_DELIVERY: frozenset({Status.IN_TRANSIT, Status.DELIVERED, Status.RETURNED}),
        Status.DELIVERED: frozenset[Status](),
        Status.RETURNED: frozenset[Status](),
    }
)


@dataclass(frozen=True, slots=True)
class Event:
    """A parcel was seen somewhere."""

    status: Status
    place: str
    at: datetime


@dataclass(frozen=True, slots=True)
class Parcel:
    """A parcel and everything that happened to it, oldest first."""

    code: str
    recipient: str
    events: tuple[Event, ...]

    @property
    def status(self) -> Status:
        """The status that the last event left."""
        return self.events[-1].status


def check_digit(serial: int) -> int:
    """Return the check digit of a serial number, as the postal standard UPU S10 defines it."""
    digits = (int(digit) for digit in f"{serial:08d}")
    remainder = sum(w * d for w, d in zip(_WEIGHTS, digits, strict=True)) % 11
    return {0: 5, 1: 0}.get(remainder, 11 - remainder)


def make_code(serial: int, service: str = "CP", country: str = "NL") -> str:
    """Return the tracking code of the serial number: `CP473124829NL`."""
    if not 0 <= serial < _MAX_SERIAL:
        raise CodeError(f"serial number {serial} does not fit in eight digits")
    return f"{service}{serial:08d}{check_digit(serial)}{country}"


def parse_code(text: str) -> str:
    """Return the tracking code in its canonical form, or raise `CodeError`."""
    code = text.replace(" ", "").upper()
    if not _CODE.fullmatch(code):
        raise CodeError(f"{text!r} is not a tracking code: two letters, nine digits, two letters")
    if check_digit(int(code[2:10])) != int(code[10]):
        raise CodeError(f"{text!r} has a wrong check digit: was a digit mistyped?")
    return code


def move(parcel: Parcel, event: Event) -> Parcel:
    """Return the parcel after the event, or raise `MoveError`."""
    if event.status not in MOVES[parcel.status]:
        raise MoveError(f"parcel {parcel.code} is {parcel.status} and cannot become {event.status}")
    if event.at < parcel.events[-1].at:
        raise MoveError(f"parcel {parcel.code} was seen later than {event.at.isoformat()} already")
    return Parcel(parcel.code, parcel.recipient, (*parcel.events, event))
