"""What a step asks for besides its command: the network, a root, limits. Most steps ask for none, and do not load this."""

from __future__ import annotations

from typing import Any

from towpath._values import Directory, encode

DIGITS = "0123456789"
MAX_INT = (1 << 63) - 1
UNITS = {"": 1, "B": 1, "kB": 10**3, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}
UNITS |= {"KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "TiB": 1 << 40}


def wanted(network: object, root: object, limits: dict[str, object]) -> dict[str, Any]:
    """Return the parameters of `step.run` for what a step asks for.

    Raises:
        TypeError: A value is of the wrong type.
        ValueError: A limit is none.
    """
    params: dict[str, Any] = {}
    if not isinstance(network, bool):
        raise _wrong_type("network", "a bool", network)
    if network:
        params["network"] = True
    if root is not None:
        if not isinstance(root, Directory):
            raise _wrong_type("root", "a Directory", root)
        params["root"] = encode(root)
    bounds = {name: _limit(name, value) for name, value in limits.items() if value is not None}
    if bounds:
        params["limits"] = bounds
    return params


def _limit(name: str, value: object) -> float:
    match name:
        case "cpus":
            return _cpus(value)
        case "pids":
            return _integer(name, value)
    return _size(name, value) if isinstance(value, str) else _integer(name, value, "an int or a str")


def _cpus(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise _wrong_type("cpus", "a number", value)
    if not 0 < value <= MAX_INT:
        message = f"cpus is a number of processors, more than 0, not {value!r}: leave it out where there is no limit"
        raise ValueError(message)
    return float(value)


def _integer(name: str, value: object, kind: str = "an int") -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise _wrong_type(name, kind, value)
    if not 1 <= value <= MAX_INT:
        message = f"{name} is from 1 to {MAX_INT}, not {value!r}: leave it out where there is no limit"
        raise ValueError(message)
    return value


def _size(name: str, text: str) -> int:
    """Read a size, as section 5 of the protocol's specification has it."""
    unit = text.lstrip(DIGITS)
    if unit not in UNITS or unit == text:
        message = f'{name}={text!r} is no size: write a whole number of bytes, or one with a unit, such as "512MiB" or "2GB"'
        raise ValueError(message)
    return _integer(name, int(text.removesuffix(unit)) * UNITS[unit])


def _wrong_type(name: str, kind: str, value: object) -> TypeError:
    return TypeError(f"{name} takes {kind}, not {value!r} of type {type(value).__name__}")
