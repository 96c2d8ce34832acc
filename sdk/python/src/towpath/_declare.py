"""How a pipeline program declares stages, and where their inputs come from.

Nothing here looks at types or reports errors, except for those that leave nothing to declare: a program is loaded as a whole and then
judged as a whole, in `_plan`.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from contextvars import ContextVar
from itertools import count
from typing import Any, Final, Generic, Literal, NamedTuple, NoReturn, ParamSpec, Protocol, TypeVar, cast, overload

from towpath._errors import MissingInputError, PipelineError
from towpath._site import Site, caller
from towpath._values import Directory, Secret

TYPE_CHECKING = False
if TYPE_CHECKING:
    from datetime import timedelta

P = ParamSpec("P")
T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)
R_co = TypeVar("R_co", covariant=True)
S = TypeVar("S", bound="str | int | float | bool")

Kind = Literal["stage", "effect"]

MISSING: Final = object()
VARARGS, VARKEYWORDS, GENERATOR, ASYNC_GENERATOR = 0x04, 0x08, 0x20, 0x200

_order = count()

declared: ContextVar[list[Declaration] | None] = ContextVar("towpath_declared", default=None)
"""Where stages are noted while a program is loaded."""


class Problem(NamedTuple):
    """Something that is wrong with a declaration."""

    site: Site
    text: str
    hint: str | None = None


class Options(NamedTuple):
    """What `@stage(…)` and `@effect(…)` were given."""

    kind: Kind
    name: str | None = None
    retry: int | None = None
    timeout: str | timedelta | None = None
    idempotent: bool | None = None
    after: tuple[Node[Any], ...] = ()


class Declaration:
    """What is known of a stage function without looking at its types."""

    def __init__(self, function: Callable[..., Any], options: Options) -> None:
        self.function = function
        self.options = options
        self.order = next(_order)
        self.bound: list[Bound[Any]] = []
        self.problems: list[Problem] = []
        plain = function
        while hasattr(plain, "__wrapped__"):
            plain = plain.__wrapped__
        code = getattr(plain, "__code__", None)
        if code is None:
            site = caller()
            message = f"a stage has to be a function, not {function!r}"
            raise PipelineError(message, file=site.file, line=site.line, hint="put the decorator on a plain function")
        self.plain = cast("Any", plain)
        self.name: str = options.name if options.name is not None else self.plain.__name__
        self.site = Site(code.co_filename, code.co_firstlineno)
        self.positional: tuple[str, ...] = code.co_varnames[: code.co_argcount]
        self.arguments: tuple[str, ...] = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]
        values = self.plain.__defaults__ or ()
        self.defaults: dict[str, Any] = dict(zip(self.positional[len(self.positional) - len(values) :], values, strict=True))
        self.defaults |= self.plain.__kwdefaults__ or {}
        self.markers = {name: value for name, value in self.defaults.items() if isinstance(value, Marker)}
        if code.co_flags & (VARARGS | VARKEYWORDS):
            self.complain("takes *args or **kwargs", "name every input")
        if code.co_posonlyargcount:
            self.complain("has positional-only inputs", "remove the `/`: inputs have names")
        if code.co_flags & (GENERATOR | ASYNC_GENERATOR):
            self.complain("is a generator", "return one value; a list for several")
        noted = declared.get()
        if noted is not None:
            noted.append(self)

    def complain(self, text: str, hint: str | None = None, site: Site | None = None) -> None:
        """Note a problem, to be reported together with all others."""
        self.problems.append(Problem(site or self.site, f"stage {self.name!r} {text}", hint))

    def fill(self, args: tuple[object, ...], kwargs: dict[str, object]) -> None:
        """Give the inputs of a plain call that were left out a value, where their declaration has one."""
        for name, marker in self.markers.items():
            if name in kwargs or name in self.positional[: len(args)]:
                continue
            if isinstance(marker, ParamMarker) and marker.default is not MISSING:
                kwargs[name] = marker.default
            else:
                message = f"stage {self.name!r} was called without {name!r}, which it takes from {marker}"
                raise MissingInputError(message, argument=name, hint=f"outside of the engine pass a value: {self.name}({name}=…)")


class Node(Generic[T_co]):
    """A node of the graph, whose output is of type `T_co`: a `Stage`, or a `Bound` one."""

    _declaration: Declaration


class Stage(Node[T_co], Generic[P, T_co, R_co]):
    """A declared stage. Calling it calls the plain function, so that it can be unit-tested.

    Made by `stage` and `effect`. `P` are the inputs, `T_co` is the type of the output and `R_co` what a call returns, which is a
    coroutine of `T_co` for an async function and `T_co` itself for the others.
    """

    def __init__(self, function: Callable[P, R_co], options: Options) -> None:
        self._declaration = Declaration(function, options)
        self.__name__ = self._declaration.name
        self.__qualname__ = getattr(function, "__qualname__", self.__name__)
        self.__module__ = function.__module__
        self.__doc__ = function.__doc__

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R_co:
        """Call the plain function.

        Raises:
            MissingInputError: An input that comes from somewhere else in the pipeline was left out.
        """
        self._declaration.fill(args, kwargs)
        return cast("R_co", self._declaration.function(*args, **kwargs))

    def __repr__(self) -> str:
        """Name the stage."""
        return f"<{self._declaration.options.kind} {self._declaration.name}>"

    def bind(self, **values: object) -> Bound[T_co]:
        """Declare a node of the graph that is this function with fixed values for some of its inputs.

        Args:
            values: By name of the input; strings, numbers, bools, None, and lists, dicts and frozen dataclasses of those.
        """
        return Bound(self._declaration, values)


class Bound(Node[T_co]):
    """A stage with fixed values for some of its inputs. Made by `Stage.bind`."""

    def __init__(self, declaration: Declaration, values: Mapping[str, object]) -> None:
        self._declaration = declaration
        self._site = caller()
        self._values = {name: values[name] for name in declaration.arguments if name in values}
        for name in values:
            if name not in declaration.arguments:
                known = ", ".join(declaration.arguments) or "none at all"
                declaration.complain(f"has no input {name!r} to bind", f"its inputs: {known}", self._site)
        declaration.bound.append(self)

    def __repr__(self) -> str:
        """Name the stage and its values."""
        values = ", ".join(f"{name}={value!r}" for name, value in self._values.items())
        return f"<{self._declaration.options.kind} {self._declaration.name} with {values}>"


class Members(NamedTuple):
    """What the rest of this package knows of a node, and users have no business with."""

    declaration: Declaration
    values: Mapping[str, object]
    site: Site


def members(node: Node[Any]) -> Members:
    """Look into a node."""
    if isinstance(node, Bound):
        return Members(node._declaration, node._values, node._site)  # noqa: SLF001 - same module
    return Members(node._declaration, {}, node._declaration.site)  # noqa: SLF001 - same module


class Marker:
    """The default of an input that has no value yet, and says where it comes from."""

    def __init__(self) -> None:
        self.site = caller()

    def _refusal(self) -> PipelineError:
        message = f"{self} is a declaration: there is no value before the pipeline runs"
        return PipelineError(message, file=self.site.file, line=self.site.line, hint="use the input inside of the stage function")

    def __bool__(self) -> bool:
        """Refuse."""
        raise self._refusal()

    def __iter__(self) -> NoReturn:
        """Refuse."""
        raise self._refusal()

    def __getattr__(self, name: str) -> NoReturn:
        """Refuse what is no protocol of Python; that is answered as usual."""
        if name.startswith("__"):
            raise AttributeError(name)
        raise self._refusal()


class OutMarker(Marker):
    """Made by `out`."""

    def __init__(self, node: Node[Any]) -> None:
        super().__init__()
        self.node = node

    def __repr__(self) -> str:
        return f"out({members(self.node).declaration.name})"


class GatherMarker(Marker):
    """Made by `gather`."""

    def __init__(self, nodes: tuple[Node[Any], ...]) -> None:
        super().__init__()
        self.nodes = nodes

    def __repr__(self) -> str:
        names = dict.fromkeys(members(node).declaration.name for node in self.nodes)
        return f"gather({', '.join(names)})"


class EachMarker(Marker):
    """Made by `each`."""

    def __init__(self, items: object) -> None:
        super().__init__()
        self.items = items

    def __repr__(self) -> str:
        return f"each({self.items!r})"


class ParamMarker(Marker):
    """Made by `param`."""

    def __init__(self, default: object, env: str | None, name: str | None, doc: str | None) -> None:
        super().__init__()
        self.default = default
        self.env = env
        self.name = name
        self.doc = doc

    def __repr__(self) -> str:
        return "param()" if self.default is MISSING else f"param({self.default!r})"


class SourceMarker(Marker):
    """Made by `source`."""

    def __init__(self, globs: tuple[str, ...], root: str) -> None:
        super().__init__()
        self.globs = globs
        self.root = root

    def __repr__(self) -> str:
        return f"source({', '.join(map(repr, self.globs))})"


class SecretMarker(Marker):
    """Made by `secret`."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name

    def __repr__(self) -> str:
        return f"secret({self.name!r})"


class Decorator(Protocol):
    """What `stage(…)` and `effect(…)` with arguments return."""

    @overload
    def __call__(self, function: Callable[P, Coroutine[Any, Any, T]], /) -> Stage[P, T, Coroutine[Any, Any, T]]: ...
    @overload
    def __call__(self, function: Callable[P, T], /) -> Stage[P, T, T]: ...


@overload
def stage(function: Callable[P, Coroutine[Any, Any, T]], /) -> Stage[P, T, Coroutine[Any, Any, T]]: ...
@overload
def stage(function: Callable[P, T], /) -> Stage[P, T, T]: ...
@overload
def stage(
    *,
    name: str | None = None,
    retry: int | None = None,
    timeout: str | timedelta | None = None,
    after: Sequence[Node[Any]] = (),
) -> Decorator: ...
def stage(
    function: Callable[..., Any] | None = None,
    /,
    *,
    name: str | None = None,
    retry: int | None = None,
    timeout: str | timedelta | None = None,
    after: Sequence[Node[Any]] = (),
) -> Any:
    """Declare a function as a stage: pure, typed, and cached by its inputs.

    Args:
        function: The function, where the decorator is used without parentheses.
        name: The name of the stage; the function's own by default.
        retry: How often a failed call is tried again.
        timeout: How long one call may take, as `"1h30m"`, `"90s"`, `"500ms"` or a `timedelta`.
        after: Stages that have to succeed first, without passing a value.
    """
    options = Options("stage", name, retry, timeout, after=_nodes("after", after))
    return _decorate(options, function)


@overload
def effect(function: Callable[P, Coroutine[Any, Any, T]], /) -> Stage[P, T, Coroutine[Any, Any, T]]: ...
@overload
def effect(function: Callable[P, T], /) -> Stage[P, T, T]: ...
@overload
def effect(
    *,
    name: str | None = None,
    retry: int | None = None,
    timeout: str | timedelta | None = None,
    idempotent: bool | None = None,
    after: Sequence[Node[Any]] = (),
) -> Decorator: ...
def effect(
    function: Callable[..., Any] | None = None,
    /,
    *,
    name: str | None = None,
    retry: int | None = None,
    timeout: str | timedelta | None = None,
    idempotent: bool | None = None,
    after: Sequence[Node[Any]] = (),
) -> Any:
    """Declare a function as an effect: a stage that changes the world, and is never cached.

    Args:
        function: The function, where the decorator is used without parentheses.
        name: The name of the stage; the function's own by default.
        retry: How often a failed call is tried again; only for an idempotent effect.
        timeout: How long one call may take, as `"1h30m"`, `"90s"`, `"500ms"` or a `timedelta`.
        idempotent: Whether doing it twice is as good as doing it once, so that it may be retried and resumed.
        after: Stages that have to succeed first, without passing a value.
    """
    options = Options("effect", name, retry, timeout, idempotent, _nodes("after", after))
    return _decorate(options, function)


def _decorate(options: Options, function: Callable[..., Any] | None) -> Any:
    return (lambda plain: Stage(plain, options)) if function is None else Stage(function, options)


def out(node: Node[T]) -> T:
    """Take an input from the output of a stage."""
    return cast("T", OutMarker(*_nodes("out()", (node,))))


def gather(nodes: Node[T] | Iterable[Node[T]]) -> list[T]:
    """Take an input from the outputs of several stages, in their order; of a fanned-out stage, from all its elements."""
    several = (nodes,) if isinstance(nodes, Node) else nodes
    return cast("list[T]", GatherMarker(_nodes("gather()", several)))


def each(items: list[T]) -> T:
    """Fan the stage out: call it once for every element of a list, which may be known only when the pipeline runs.

    Args:
        items: `out(…)` of a stage that returns a list, `gather(…)`, or a plain list.
    """
    return cast("T", EachMarker(items))


@overload
def param(default: S, *, env: str | None = None, name: str | None = None, doc: str | None = None) -> S: ...
@overload
def param(*, env: str | None = None, name: str | None = None, doc: str | None = None) -> Any: ...
def param(default: Any = MISSING, *, env: str | None = None, name: str | None = None, doc: str | None = None) -> Any:
    """Take an input from a parameter of the run; its type is that of the annotation: `str`, `int`, `float` or `bool`.

    Args:
        default: The value where none is given; without it the parameter is required.
        env: An environment variable that it may be given in.
        name: The name of the parameter; by default that of the input.
        doc: What it is, for `--help`.
    """
    return ParamMarker(default, env, name, doc)


def source(*globs: str, root: Literal["program", "repository"] = "program") -> Directory:
    """Take an input from files of the work tree.

    Args:
        globs: Patterns with `*`, `?`, `[…]`, `{a,b}` and `**`. One that names a folder takes all of it; one that starts with `!`
            takes away.
        root: What they are relative to: the folder of the program, or that of the repository.
    """
    return cast("Directory", SourceMarker(globs, root))


def secret(name: str) -> Secret:
    """Take the handle of a secret as an input."""
    return cast("Secret", SecretMarker(name))


def _nodes(where: str, nodes: Iterable[Any]) -> tuple[Node[Any], ...]:
    site = caller()
    if isinstance(nodes, Node) or not isinstance(nodes, Iterable):
        message = f"{where} takes a list of stages, not {nodes!r}"
        raise PipelineError(message, file=site.file, line=site.line, hint=f"write {where}=[…]")
    several = tuple(nodes)
    for node in several:
        if not isinstance(node, Node):
            message = f"{where} takes stages, not {node!r}"
            raise PipelineError(message, file=site.file, line=site.line, hint="decorate the function with @stage")
    return several
