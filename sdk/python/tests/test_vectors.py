"""The vectors that all SDKs share, and this SDK's own properties of canonical JSON."""

from __future__ import annotations

import json
import math
import random
import struct
from dataclasses import make_dataclass
from pathlib import Path
from typing import Any

import pytest

from towpath._json import DecodeError, EncodeError, TooDeepError, canonical, parse, parse_object
from towpath._limits import wanted
from towpath._operations import cut
from towpath._plan import node_name
from towpath._types import BOOL, FLOAT, INT, NULL, STRING, Handle, ListOf, MapOf, MismatchError, OptionalOf, Record, Type
from towpath._values import Directory, File, Secret, TestReport
from towpath._wire import Frames, ViolationError

VECTORS = Path(__file__).resolve().parents[3] / "protocol" / "vectors"


def vectors(name: str) -> list[dict[str, Any]]:
    loaded: list[dict[str, Any]] = json.loads((VECTORS / name).read_text(encoding="utf-8"))
    assert loaded
    return loaded


def named(vector: dict[str, Any]) -> str:
    return str(vector.get("name"))


@pytest.mark.parametrize("vector", vectors("canonical.json"), ids=named)
def test_canonical(vector: dict[str, Any]) -> None:
    if vector.get("error"):
        with pytest.raises((DecodeError, EncodeError, TooDeepError)):
            canonical(parse(vector["input"].encode("utf-8", "surrogatepass")))
    else:
        assert canonical(parse(vector["input"].encode())).decode() == vector["canonical"]


@pytest.mark.parametrize("vector", vectors("frames.json"), ids=named)
@pytest.mark.parametrize("size", [1, 1 << 20])
def test_frames(vector: dict[str, Any], size: int) -> None:
    data = bytes.fromhex(vector["hex"])

    def read() -> list[dict[str, Any]]:
        frames = Frames()
        messages = []
        for start in range(0, len(data), size):
            messages += frames.feed(data[start : start + size])
        frames.end()
        return messages

    if vector.get("error"):
        with pytest.raises(ViolationError):
            read()
    else:
        assert read() == vector["messages"]


@pytest.mark.parametrize("vector", vectors("bound_names.json"), ids=named)
def test_bound_names(vector: dict[str, Any]) -> None:
    assert node_name(vector["function"], vector["bound"]) == vector["name"]


SIMPLE: dict[str, Type] = {
    "null": NULL,
    "bool": BOOL,
    "int": INT,
    "float": FLOAT,
    "string": STRING,
    "file": Handle("file", File),
    "directory": Handle("directory", Directory),
    "secret": Handle("secret", Secret),
    "test_report": Handle("test_report", TestReport),
}


def type_of(spec: Any) -> Type:
    match spec:
        case str():
            return SIMPLE[spec]
        case {"list": element}:
            return ListOf(type_of(element))
        case {"map": element}:
            return MapOf(type_of(element))
        case {"optional": element}:
            return OptionalOf(type_of(element))
        case {"record": {"name": name, "fields": fields}}:
            types = {field["name"]: type_of(field["type"]) for field in fields}
            return Record(make_dataclass(name, list(types), frozen=True), types)
    raise AssertionError(spec)


@pytest.mark.parametrize("vector", vectors("values.json"), ids=named)
def test_values(vector: dict[str, Any]) -> None:
    kind = type_of(vector["type"])
    assert kind.spec == vector["type"]
    if vector.get("error"):
        with pytest.raises((MismatchError, DecodeError)):
            kind.decode(parse(vector["value"].encode()), "value")
    else:
        value = kind.decode(parse(vector["value"].encode()), "value")
        assert canonical(kind.encode(value, "value")).decode() == vector["canonical"]


@pytest.mark.parametrize("vector", vectors("steps.json"), ids=named)
def test_steps(vector: dict[str, Any]) -> None:
    options = vector["options"]
    network, root = options.pop("network", False), options.pop("root", None)
    if vector.get("error"):
        with pytest.raises(ValueError, match=next(iter(options))):
            wanted(network, root, options)
    else:
        sent = wanted(network, Directory(digest=root) if root else None, options)
        assert canonical(sent) == canonical(vector["params"])


def test_every_file_of_vectors_is_run() -> None:
    run = {"bound_names.json", "canonical.json", "frames.json", "steps.json", "values.json"}
    only_engine = {"results.json"}  # what an engine takes of a worker
    assert {path.name for path in VECTORS.glob("*.json")} == run | only_engine


def test_any_float_is_read_back_unchanged() -> None:
    numbers = random.Random(7)
    for _ in range(20_000):
        (value,) = struct.unpack("d", numbers.randbytes(8))
        if math.isfinite(value):
            text = canonical(value).decode()
            assert float(text) == value
            assert "." in text or "e" in text


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 1 << 63, -(1 << 63) - 1, "\ud800", {"\udfff": 1}, {1: 2}, b"x", {1, 2}])
def test_what_json_cannot_represent(value: object) -> None:
    with pytest.raises(EncodeError):
        canonical(value)


class Members(dict[str, Any]):
    """An object that the accelerator is not given."""


@pytest.mark.parametrize("text", ["", "a", 'é\u2028\x7f\x00\n"\\/', "\U0001f600", "\uffff"])
def test_the_accelerator_writes_the_same(text: str) -> None:
    inner: list[Any] = [None, True, False, 0, -1, (1 << 63) - 1, -(1 << 63), text, (), [], {}, (text,)]
    value = {text + "z": inner, text + "é": {"b": 1, "a": inner}, text + "\U0001f600": text, text + "\uffff": [inner]}
    assert canonical(value) == canonical(Members(value))
    assert canonical(value) == canonical({key: Members(a=element)["a"] for key, element in reversed(value.items())})


@pytest.mark.parametrize("text", ['{"id":1,"id":1}', '{"id":1,"x":{"id":2},"id":3}', '{"id":1,"\\u0069d":2}', '{"":1,"x":[],"":2}'])
def test_a_key_twice_is_refused(text: str) -> None:
    with pytest.raises(DecodeError, match="twice"):
        parse_object(text.encode())


@pytest.mark.parametrize("text", ['{"id":1,"x":{"id":2}}', '{"id":"\\"id\\"","x":"id"}', '{"x":["id"],"id":1}', '{"x":{"y":1,"y":2}}'])
def test_a_key_elsewhere_is_none_of_the_top_level(text: str) -> None:
    assert parse_object(text.encode()) == json.loads(text)


def test_a_frame_may_be_deeper_than_a_value() -> None:
    assert parse_object(b'{"x":' + b"[" * 127 + b"]" * 127 + b"}")
    with pytest.raises(DecodeError, match="nested"):
        parse_object(b'{"x":' + b"[" * 128 + b"]" * 128 + b"}")


@pytest.mark.parametrize(("text", "expected"), [("abc", "abc"), ("é" * 5, "éé"), ("a\ud800", "a?")])
def test_texts_are_cut_at_a_character(text: str, expected: str) -> None:
    assert cut(text, 5) == expected
