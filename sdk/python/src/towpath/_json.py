"""Canonical JSON, of which digests are taken: section 6 of the protocol's specification."""

from __future__ import annotations

import json
from collections.abc import Callable
from json.encoder import encode_basestring
from typing import Any

from towpath._errors import OperationError

MAX_DEPTH = 64
MAX_FRAME_DEPTH = 2 * MAX_DEPTH  # room for a value of the greatest depth inside of a message
DUPLICATE = "a key occurs twice in an object"
INT64_MIN, INT64_MAX = -(1 << 63), (1 << 63) - 1


class EncodeError(ValueError):
    """A value that JSON, or this protocol, cannot represent."""


class TooDeepError(OperationError):
    """A value that is nested deeper than the protocol allows."""

    def __init__(self) -> None:
        super().__init__(f"the value is nested deeper than {MAX_DEPTH} levels", code="too_large")


def canonical(value: object, max_depth: int = MAX_DEPTH) -> bytes:
    """Encode a value.

    Raises:
        EncodeError: It is not representable: a number that is not finite or out of range, a lone surrogate, another type.
        TooDeepError: It is nested too deeply.
    """
    if _is_plain(value, max_depth):
        text = _encode_plain(value)
    else:
        pieces: list[str] = []
        _write(value, pieces.append, max_depth)
        text = "".join(pieces)
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        message = f"a string contains the lone surrogate U+{ord(error.object[error.start]):04X}"
        raise EncodeError(message) from None


# What the accelerator of the standard library writes is canonical for plain values, and takes a quarter of the time.
_encode_plain = json.JSONEncoder(ensure_ascii=False, check_circular=False, separators=(",", ":"), sort_keys=True).encode


def _is_plain(value: object, room: int) -> bool:
    """Tell whether a value consists of strings, small integers and the like, is correct, and is not too deep."""
    kind = type(value)
    if kind is str or kind is bool or value is None:
        return True
    if kind is int:
        return INT64_MIN <= value <= INT64_MAX  # type: ignore[operator]
    if not room:
        return False
    if kind is dict:
        for key, element in value.items():  # type: ignore[attr-defined]
            if type(key) is not str or (type(element) is not str and not _is_plain(element, room - 1)):
                return False
        return True
    if kind is list or kind is tuple:
        for element in value:  # type: ignore[attr-defined]  # noqa: SIM110 - a generator takes longer
            if type(element) is not str and not _is_plain(element, room - 1):
                return False
        return True
    return False


def _write(value: object, put: Callable[[str], object], room: int) -> None:
    if isinstance(value, str):
        put(encode_basestring(value))
    elif value is None:
        put("null")
    elif isinstance(value, bool):
        put("true" if value else "false")
    elif isinstance(value, int):
        put(_integer(value))
    elif isinstance(value, float):
        put(_number(value))
    elif not room:
        raise TooDeepError
    elif isinstance(value, dict):
        _write_object(value, put, room - 1)
    elif isinstance(value, list | tuple):
        opening = "["
        for element in value:
            put(opening)
            _write(element, put, room - 1)
            opening = ","
        put("]" if value else "[]")
    else:
        message = f"JSON cannot represent a value of type {type(value).__name__}"
        raise EncodeError(message)


def _write_object(value: dict[Any, object], put: Callable[[str], object], room: int) -> None:
    opening = "{"
    for key in value:
        if not isinstance(key, str):
            message = f"the key {key!r} is not a string"
            raise EncodeError(message)
    # Code points sort as their UTF-8 bytes do.
    for key in sorted(value):
        put(opening)
        put(encode_basestring(key))
        put(":")
        _write(value[key], put, room)
        opening = ","
    put("}" if value else "{}")


def _integer(value: int) -> str:
    if INT64_MIN <= value <= INT64_MAX:
        return int.__repr__(value)
    message = "an integer is out of the range of 64 bits"
    raise EncodeError(message)


def _number(value: float) -> str:
    """Write a float as ECMAScript's Number::toString does, with `.0` where that would read as an integer."""
    if value != value or value in (float("inf"), float("-inf")):  # noqa: PLR0124 - that is NaN
        message = f"the number {value!r} is not finite"
        raise EncodeError(message)
    if value == 0:
        return "0.0"
    sign = "-" if value < 0 else ""
    mantissa, _, power = float.__repr__(abs(value)).partition("e")
    whole, _, fraction = mantissa.partition(".")
    fraction = "" if fraction == "0" else fraction
    digits = (whole + fraction).lstrip("0")
    # The value is 0.DIGITS times ten to the power of `point`.
    point = len(whole) + int(power or 0) - (len(whole + fraction) - len(digits))
    digits = digits.rstrip("0")
    if len(digits) <= point <= 21:  # noqa: PLR2004 - this and -6 are ECMAScript's
        return f"{sign}{digits}{'0' * (point - len(digits))}.0"
    if 0 < point <= 21:  # noqa: PLR2004
        return f"{sign}{digits[:point]}.{digits[point:]}"
    if -6 < point <= 0:  # noqa: PLR2004
        return f"{sign}0.{'0' * -point}{digits}"
    rest = f".{digits[1:]}" if len(digits) > 1 else ""
    return f"{sign}{digits[0]}{rest}e{'+' if point > 0 else '-'}{abs(point - 1)}"


class DecodeError(ValueError):
    """Bytes that are not the JSON that they should be."""


def parse(data: bytes) -> Any:
    """Decode a JSON document as strictly as its canonical form is defined.

    Raises:
        DecodeError: It is not JSON in UTF-8, an object in it has a key twice, or it is nested too deeply.
    """

    def collect(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        result = dict(pairs)
        if len(result) != len(pairs):
            raise DecodeError(DUPLICATE)
        return result

    return _parse(data, collect, MAX_DEPTH)


def parse_object(data: bytes) -> dict[str, Any]:
    """Decode the body of a frame.

    Raises:
        DecodeError: It is no JSON object in UTF-8, has a key twice at its top level, or is nested too deeply.
    """
    value = _parse(data, None, MAX_FRAME_DEPTH)
    if not isinstance(value, dict):
        message = "not a JSON object"
        raise DecodeError(message)
    # A key that is there once in the text, in the only way to write it, is there once.
    if (b"\\" in data or any(data.count(f'"{key}"'.encode()) > 1 for key in value)) and _has_duplicates(data):
        raise DecodeError(DUPLICATE)
    return value


def _has_duplicates(data: bytes) -> bool:
    """Tell whether an object, which was parsed before, has a key twice at its top level."""
    duplicate = False

    def collect(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        # The outermost object is complete last, so that what is left in `duplicate` is about it.
        nonlocal duplicate
        result = dict(pairs)
        duplicate = len(result) != len(pairs)
        return result

    _parse(data, collect, MAX_FRAME_DEPTH)
    return duplicate


def _parse(data: bytes, collect: Callable[[list[tuple[str, Any]]], dict[str, Any]] | None, limit: int) -> Any:
    try:
        value = json.loads(data.decode(), object_pairs_hook=collect, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        message = f"not JSON in UTF-8: {error}"
        raise DecodeError(message) from None
    # Counting brackets is cheap, and settles it for nearly all documents.
    if data.count(b"{") + data.count(b"[") > limit and _depth(value) > limit:
        message = f"nested deeper than {limit} levels"
        raise DecodeError(message)
    return value


def _refuse_constant(name: str) -> None:
    message = f"{name} is not JSON"
    raise ValueError(message)


def _depth(value: object) -> int:
    depth, level = 0, [value]
    while level := [item for item in level if isinstance(item, dict | list)]:
        depth += 1
        level = [element for item in level for element in (item.values() if isinstance(item, dict) else item)]
    return depth
