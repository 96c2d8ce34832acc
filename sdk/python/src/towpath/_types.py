"""The types that values of a pipeline may have: read from annotations, and used to check, encode and decode values."""

from __future__ import annotations

import sys
import types
import typing
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, cast

from towpath import _values
from towpath._declare import Marker
from towpath._json import INT64_MAX, INT64_MIN
from towpath._pending import Pending


class UnsupportedTypeError(Exception):
    """An annotation that is none of the protocol's types."""

    def __init__(self, text: str, hint: str | None = None) -> None:
        super().__init__(text)
        self.text = text
        self.hint = hint


class MismatchError(Exception):
    """A value that is not of the type that it should have."""

    def __init__(self, path: str, expected: Type, value: object, why: str = "") -> None:
        got = f"{value!r} is a declaration" if isinstance(value, Marker) else f"got {type(value).__name__}"
        super().__init__(f"{path} should be {expected.name}, {why or got}")


class Type:
    """A type: `name` as users write it, `spec` as the protocol does."""

    name: str
    spec: Any

    def encode(self, value: object, path: str) -> Any:
        """Return the protocol's form of `value`, which is called `path` in errors.

        Raises:
            MismatchError: It is not of this type.
        """
        raise NotImplementedError

    def decode(self, value: Any, path: str) -> Any:
        """Return the Python value of the protocol's form.

        Raises:
            MismatchError: It is not of this type.
        """
        return self.encode(value, path)

    def shape(self) -> Any:
        """Return what decides whether an edge fits: `spec`, but records by structure alone."""
        return self.spec


class Scalar(Type):
    """None, a bool, an integer, a float or a string."""

    def __init__(self, name: str, spec: str, python: type) -> None:
        self.name = name
        self.spec = spec
        self.python = python

    def encode(self, value: object, path: str) -> Any:
        if self.python is float and type(value) is int:
            value = float(value)
        if not isinstance(value, self.python) or (isinstance(value, bool) and self.python is not bool):
            raise MismatchError(path, self, value)
        if isinstance(value, float) and not abs(value) < float("inf"):
            raise MismatchError(path, self, value, f"which {value!r} cannot be: it is not finite")
        if type(value) is int and not INT64_MIN <= value <= INT64_MAX:
            raise MismatchError(path, self, value, "got one out of the range of 64 bits")
        if isinstance(value, str) and not _is_unicode(value):
            raise MismatchError(path, self, value, "got one with a lone surrogate")
        # A subclass, such as a member of a StrEnum, is passed on as what it is a subclass of.
        return value if value is None else self.python(value)


def _is_unicode(text: str) -> bool:
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


class Handle(Type):
    """A file, directory, test report or secret."""

    def __init__(self, spec: str, python: type) -> None:
        self.name = python.__name__
        self.spec = spec
        self.python = python

    def encode(self, value: object, path: str) -> Any:
        if not isinstance(value, self.python):
            raise MismatchError(path, self, value)
        return _values.encode(cast("_values.File", value))

    def decode(self, value: Any, path: str) -> Any:
        try:
            result = _values.decode(value)
        except ValueError:
            raise MismatchError(path, self, value) from None
        if not isinstance(result, self.python):
            raise MismatchError(path, self, result)
        return result


class ListOf(Type):
    """A list of one type."""

    def __init__(self, element: Type) -> None:
        self.element = element
        self.name = f"list[{element.name}]"
        self.spec = {"list": element.spec}

    def encode(self, value: object, path: str) -> Any:
        return self._each(self.element.encode, value, path)

    def decode(self, value: Any, path: str) -> Any:
        return self._each(self.element.decode, value, path)

    def _each(self, convert: Callable[[Any, str], Any], value: object, path: str) -> list[Any]:
        if not isinstance(value, list):
            raise MismatchError(path, self, value)
        return [convert(element, f"{path}[{index}]") for index, element in enumerate(value)]

    def shape(self) -> Any:
        return {"list": self.element.shape()}


class MapOf(Type):
    """A dict of strings to one type."""

    def __init__(self, element: Type) -> None:
        self.element = element
        self.name = f"dict[str, {element.name}]"
        self.spec = {"map": element.spec}

    def encode(self, value: object, path: str) -> Any:
        return self._each(self.element.encode, value, path)

    def decode(self, value: Any, path: str) -> Any:
        return self._each(self.element.decode, value, path)

    def _each(self, convert: Callable[[Any, str], Any], value: object, path: str) -> dict[str, Any]:
        if not isinstance(value, dict):
            raise MismatchError(path, self, value)
        for key in value:
            if not isinstance(key, str) or not _is_unicode(key):
                raise MismatchError(path, self, value, f"but {key!r} is a key of it")
            if key.startswith("$"):
                raise MismatchError(path, self, value, f"but its key {key!r} starts with a dollar sign")
        return {key: convert(element, f"{path}[{key!r}]") for key, element in value.items()}

    def shape(self) -> Any:
        return {"map": self.element.shape()}


class OptionalOf(Type):
    """None or one type."""

    def __init__(self, element: Type) -> None:
        self.element = element
        self.name = f"{element.name} | None"
        self.spec = {"optional": element.spec}

    def encode(self, value: object, path: str) -> Any:
        return None if value is None else self._named(self.element.encode, value, path)

    def decode(self, value: Any, path: str) -> Any:
        return None if value is None else self._named(self.element.decode, value, path)

    def _named(self, convert: Callable[[Any, str], Any], value: object, path: str) -> Any:
        return convert(value, path)

    def shape(self) -> Any:
        return {"optional": self.element.shape()}


class Record(Type):
    """A frozen dataclass."""

    def __init__(self, python: type, fields: Mapping[str, Type]) -> None:
        self.python = python
        self.fields = fields
        self.name = python.__name__
        self.spec = {
            "record": {
                "name": python.__name__,
                "fields": [{"name": name, "type": field.spec} for name, field in fields.items()],
            }
        }

    def encode(self, value: object, path: str) -> Any:
        # A subclass may have more fields, which would be lost.
        if type(value) is not self.python:
            raise MismatchError(path, self, value)
        return {name: field.encode(getattr(value, name), f"{path}.{name}") for name, field in self.fields.items()}

    def decode(self, value: Any, path: str) -> Any:
        if not isinstance(value, dict) or value.keys() != self.fields.keys():
            raise MismatchError(path, self, value)
        return self.python(**{name: field.decode(value[name], f"{path}.{name}") for name, field in self.fields.items()})

    def shape(self) -> Any:
        return {"record": {name: field.shape() for name, field in self.fields.items()}}


def fits(output: Type, wanted: Type) -> bool:
    """Tell whether an edge from `output` to an input of type `wanted` is allowed."""
    if output.shape() == wanted.shape():
        return True
    return isinstance(wanted, OptionalOf) and fits(output, wanted.element)


NULL = Scalar("None", "null", types.NoneType)
BOOL = Scalar("bool", "bool", bool)
INT = Scalar("int", "int", int)
FLOAT = Scalar("float", "float", float)
STRING = Scalar("str", "string", str)
SECRET = Handle("secret", _values.Secret)
DIRECTORY = Handle("directory", _values.Directory)
PARAM_TYPES = (STRING, INT, FLOAT, BOOL)

_SIMPLE: dict[Any, Type] = {
    None: NULL,
    types.NoneType: NULL,
    bool: BOOL,
    int: INT,
    float: FLOAT,
    str: STRING,
    _values.Secret: SECRET,
    _values.Directory: DIRECTORY,
    _values.File: Handle("file", _values.File),
    _values.TestReport: Handle("test_report", _values.TestReport),
}

_HINTS: dict[Any, str] = {
    tuple: "use list[T], or a frozen dataclass for different types",
    set: "use list[T]",
    frozenset: "use list[T]",
    list: "write list[T] with the type of its elements",
    dict: "write dict[str, T] with the type of its values",
    bytes: "store the bytes with File.from_bytes and return the File",
    bytearray: "store the bytes with File.from_bytes and return the File",
    complex: "use a frozen dataclass with two floats",
    object: "name one of the types that a pipeline can pass",
    Any: "name one of the types that a pipeline can pass",
    typing.Literal: "use str or int, and check the value in the stage",
    Pending: "await the operation in the stage and return its result",
}

_HINTS_BY_NAME = {
    "Path": "use File or Directory: a path means nothing on another machine",
    "PosixPath": "use File or Directory: a path means nothing on another machine",
    "PurePath": "use str, or File and Directory for the content",
    "datetime": "use str in ISO 8601",
    "date": "use str in ISO 8601",
    "timedelta": "use float seconds or int milliseconds",
    "Decimal": "use str",
    "Sequence": "write list[T]",
    "Iterable": "write list[T]",
    "Mapping": "write dict[str, T]",
    "StepResult": "return its files, or its `tree`",
    "Entry": "return its `value`",
    "Coroutine": "write the type that awaiting it gives",
    "Awaitable": "write the type that awaiting it gives",
}

ALLOWED = (
    "use str, int, float, bool, None, File, Directory, TestReport, Secret, list[T], dict[str, T], T | None or a frozen dataclass of those"
)


class Scope(NamedTuple):
    """Where the names in an annotation are looked up."""

    names: Mapping[str, Any]
    local: Mapping[str, Any]

    def evaluate(self, text: str) -> Any:
        """Evaluate an annotation that is given as a string."""
        try:
            return eval(text, dict(self.names), dict(self.local))  # noqa: S307 - it is the user's own program
        except Exception as error:  # noqa: BLE001 - it is the user's expression
            message = f"has the type {text!r}, which cannot be evaluated: {type(error).__name__}: {error}"
            raise UnsupportedTypeError(message, "import the type at run time, not only for type checkers") from None


def scope_of(function: Any) -> Scope:
    """Return the scope of a function's annotations."""
    local = {}
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        try:
            local[name] = cell.cell_contents
        except ValueError:
            continue  # not assigned yet
    return Scope(function.__globals__, local)


def read(annotation: Any, scope: Scope, outer: tuple[type, ...] = ()) -> Type:
    """Return the type of an annotation.

    Args:
        annotation: The annotation as it was found, perhaps a string.
        scope: Where its names are looked up.
        outer: The records that it is a part of.

    Raises:
        UnsupportedTypeError: It is not allowed.
    """
    if isinstance(annotation, typing.ForwardRef):
        annotation = annotation.__forward_arg__
    if isinstance(annotation, str):
        annotation = scope.evaluate(annotation)
    simple = _SIMPLE.get(annotation) if _hashable(annotation) else None
    if simple is not None:
        return simple
    for alias in ("__supertype__", "__value__"):  # typing.NewType and `type X = …`
        if hasattr(annotation, alias) and not isinstance(annotation, type):
            return read(getattr(annotation, alias), scope, outer)
    origin, args = typing.get_origin(annotation), typing.get_args(annotation)
    if hasattr(annotation, "__metadata__"):  # typing.Annotated
        return read(args[0], scope, outer)
    if origin is list:
        return ListOf(read(args[0], scope, outer))
    if origin is dict:
        if args[0] not in (str, "str"):
            raise _unsupported(annotation, "the keys of a dict are strings: write dict[str, T]")
        return MapOf(read(args[1], scope, outer))
    if origin in (typing.Union, types.UnionType):
        inner = [arg for arg in args if arg is not types.NoneType]
        if len(inner) != 1 or len(inner) == len(args):
            raise _unsupported(annotation, "an input has one type, or that and None; use a frozen dataclass for more")
        return OptionalOf(read(inner[0], scope, outer))
    if isinstance(annotation, type) and hasattr(annotation, "__dataclass_fields__"):
        return _read_record(annotation, scope, outer)
    raise _unsupported(annotation, _hint(annotation, origin))


def _read_record(cls: Any, scope: Scope, outer: tuple[type, ...]) -> Type:
    if cls in outer:
        raise _unsupported(cls, "a record cannot contain itself: pass a list of flat records that name each other")
    if not cls.__dataclass_params__.frozen:
        raise _unsupported(cls, "write @dataclass(frozen=True): values never change once they are made")
    fields = {}
    for field in sys.modules["dataclasses"].fields(cls):
        if not field.init:
            raise _unsupported(cls, f"its field {field.name!r} is not an argument of its constructor")
        owner = next(base for base in cls.__mro__ if field.name in getattr(base, "__annotations__", ()))
        names = {**vars(sys.modules.get(owner.__module__, types)), owner.__name__: owner}
        inner = Scope({**scope.names, **names}, {**scope.local, **vars(owner)})
        try:
            fields[field.name] = read(field.type, inner, (*outer, cls))
        except UnsupportedTypeError as error:
            text = f"has the type {cls.__name__}, whose field {field.name!r} {error.text}"
            raise UnsupportedTypeError(text, error.hint) from None
    return Record(cls, fields)


def _hashable(annotation: Any) -> bool:
    try:
        hash(annotation)
    except TypeError:
        return False
    return True


def _unsupported(annotation: Any, hint: str) -> UnsupportedTypeError:
    name = annotation.__qualname__ if isinstance(annotation, type) else repr(annotation).replace("typing.", "")
    name = repr(annotation) if typing.get_args(annotation) else name
    return UnsupportedTypeError(f"has the type {name}, which a pipeline cannot pass", hint)


def _hint(annotation: Any, origin: Any) -> str:
    found = origin or annotation
    if _hashable(found) and found in _HINTS:
        return _HINTS[found]
    name = getattr(found, "__name__", "")
    if name in _HINTS_BY_NAME:
        return _HINTS_BY_NAME[name]
    if isinstance(found, type):
        if hasattr(found, "__members__"):
            return "use str or int, and convert in the stage"
        if issubclass(found, tuple | dict) or hasattr(found, "__attrs_attrs__"):
            return "use a frozen dataclass"
    return ALLOWED
