"""From the declarations of a program to its plan: sections 6 and 7 of the protocol's specification."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from towpath import _types
from towpath._declare import (
    MISSING,
    Bound,
    Declaration,
    EachMarker,
    GatherMarker,
    Marker,
    Node,
    OutMarker,
    ParamMarker,
    Problem,
    SecretMarker,
    SourceMarker,
    Stage,
    members,
)
from towpath._errors import PipelineError, TowpathError
from towpath._json import canonical
from towpath._site import Site, relative
from towpath._types import MismatchError, Type, UnsupportedTypeError

MAX_NAME_BYTES = 300
MAX_STAGES = 200_000
FUNCTION_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,99}", re.ASCII)
NODES = (Stage, Bound)
BARE_VALUE = re.compile(r"[A-Za-z0-9_.+:/@-]+", re.ASCII)
CONTROL = re.compile("[\x00-\x1f\x7f-\x9f]")
DURATION = re.compile(r"(?:(\d+)h)?(?:(\d+)m(?!s))?(?:(\d+)s)?(?:(\d+)ms)?", re.ASCII)


class Signature(NamedTuple):
    """The types of a stage function; None where the annotation is wrong."""

    inputs: Mapping[str, Type | None]
    output: Type | None
    problems: tuple[Problem, ...]


def signature(declaration: Declaration) -> Signature:
    """Read the annotations of a stage function."""
    annotations = declaration.plain.__annotations__
    scope = _types.scope_of(declaration.plain)
    problems: list[Problem] = []

    def read(name: str, what: str, missing: str) -> Type | None:
        if name in annotations:
            try:
                return _types.read(annotations[name], scope)
            except UnsupportedTypeError as error:
                text, hint = f"{what} {error.text}", error.hint
        else:
            text, hint = f"{what} has no type", missing
        site = _argument_site(declaration, name)
        problems.append(Problem(site, f"stage {declaration.name!r}: {text}", hint))
        return None

    inputs = {name: read(name, f"input {name!r}", f"annotate it: {name}: str") for name in declaration.arguments}
    output = read("return", "output", "annotate it: `-> File`, or `-> None` where there is none")
    return Signature(inputs, output, tuple(problems))


def _argument_site(declaration: Declaration, name: str) -> Site:
    """Find the line of an argument; only for errors, since it parses the file."""
    import ast

    try:
        with open(declaration.site.file, "rb") as file:
            tree = ast.parse(file.read())
    except (OSError, SyntaxError, ValueError):
        return declaration.site
    for found in ast.walk(tree):
        if not isinstance(found, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        first = min([found.lineno, *(decorator.lineno for decorator in found.decorator_list)])
        if first == declaration.site.line and found.name == declaration.plain.__name__:
            if name == "return":
                return Site(declaration.site.file, found.returns.lineno if found.returns else found.lineno)
            for argument in (*found.args.posonlyargs, *found.args.args, *found.args.kwonlyargs):
                if argument.arg == name:
                    return Site(declaration.site.file, argument.lineno)
    return declaration.site


def named(namespace: Mapping[str, Any]) -> Iterator[Declaration]:
    """Yield the stages among the values of a module, and in its lists, tuples, sets and dicts."""
    for value in list(namespace.values()):
        if isinstance(value, NODES):
            yield members(value).declaration
        elif isinstance(value, dict):
            yield from (members(element).declaration for element in list(value.values()) if isinstance(element, NODES))
        elif isinstance(value, list | tuple | set | frozenset):
            yield from (members(element).declaration for element in list(value) if isinstance(element, NODES))


def discover(namespaces: Iterable[Mapping[str, Any]]) -> list[Declaration]:
    """Return the stages that modules name and all that they refer to, in the order of their declaration."""
    found: dict[Declaration, None] = {}
    waiting = [declaration for namespace in namespaces for declaration in named(namespace)]
    while waiting:
        declaration = waiting.pop()
        if declaration not in found:
            found[declaration] = None
            nodes = [*declaration.options.after]
            for marker in declaration.markers.values():
                nodes += referred(marker)
            waiting += [members(node).declaration for node in nodes]
    return sorted(found, key=lambda declaration: declaration.order)


def referred(marker: object) -> tuple[Node[Any], ...]:
    """Return the nodes that a marker refers to."""
    match marker:
        case OutMarker():
            return (marker.node,)
        case GatherMarker():
            return marker.nodes
        case EachMarker():
            return referred(marker.items)
    return ()


def by_name(declarations: Iterable[Declaration], root: str | None, lost: Iterable[Declaration] = ()) -> dict[str, Declaration]:
    """Return the stages by name.

    Args:
        declarations: The stages of the program.
        root: What sites are relative to.
        lost: Stages that it has declared too, and that nothing refers to.

    Raises:
        PipelineError: Two have the same name, or one is lost.
    """
    result: dict[str, Declaration] = {}
    problems = []
    unreachable = dict.fromkeys(lost)
    for declaration in sorted((*declarations, *unreachable), key=lambda declaration: declaration.order):
        other = result.setdefault(declaration.name, declaration)
        if other is not declaration:
            unreachable.pop(other, None)
            unreachable.pop(declaration, None)
            where = f"{relative(other.site.file, root)}:{other.site.line}"
            problems.append(
                Problem(
                    declaration.site,
                    f"stage {declaration.name!r} is declared twice, also at {where}",
                    "give one of them another name: @stage(name=…)",
                )
            )
    problems += [
        Problem(
            declaration.site,
            f"stage {declaration.name!r} is declared and cannot be reached: it is in no module-level name of the pipeline",
            f"bind it to a module-level name, or put it in a list or dict that has one; @{declaration.options.kind} has to be the "
            "topmost decorator",
        )
        for declaration in unreachable
    ]
    raise_problems(problems, root)
    return result


def raise_problems(problems: Iterable[Problem], root: str | None) -> None:
    """Raise all problems as one error, if there are any."""
    unique = list(dict.fromkeys(problems))
    if not unique:
        return
    first = unique[0]
    file = relative(first.site.file, root)
    lines = [f"{relative(site.file, root)}:{site.line}: {text}" for site, text, _ in unique]
    if len(unique) == 1:
        raise PipelineError(lines[0], file=file, line=first.site.line, hint=first.hint)
    hints = [f"{line} (hint: {problem.hint})" if problem.hint else line for line, problem in zip(lines, unique, strict=True)]
    raise PipelineError("\n".join(hints), file=file, line=first.site.line)


class Described(NamedTuple):
    """A plan, and where its stages were declared."""

    plan: dict[str, Any]
    sites: dict[str, Site]


def build(declarations: list[Declaration], root: str | None) -> Described:
    """Make the plan of a program.

    Raises:
        PipelineError: Something is declared that is not allowed; the message lists all of it, in the order of declaration.
    """
    return _Builder(by_name(declarations, root), root).build()


def node_name(function: str, bound: Iterable[tuple[str, Any]]) -> str:
    """Return the name of a node whose inputs are bound to these values in the protocol's form."""
    parts = []
    for name, value in bound:
        bare = isinstance(value, str) and BARE_VALUE.fullmatch(value)
        parts.append(f"{name}={value if bare else canonical(value).decode()}")
    return f"{function}[{','.join(parts)}]" if parts else function


class _NodeKey(NamedTuple):
    declaration: Declaration
    bound: Bound[Any] | None

    @property
    def site(self) -> Site:
        return self.declaration.site if self.bound is None else members(self.bound).site

    def source_of(self, name: str) -> object:
        """Return the marker or plain value that an input has."""
        if self.bound is not None and name in (values := members(self.bound).values):
            return values[name]
        return self.declaration.defaults.get(name, MISSING)


class _Builder:
    def __init__(self, declarations: Mapping[str, Declaration], root: str | None) -> None:
        self.root = root
        self.declarations = declarations.values()
        self.signatures = {declaration: signature(declaration) for declaration in self.declarations}
        self.problems: dict[Declaration, list[Problem]] = {declaration: [] for declaration in self.declarations}
        self.current: _NodeKey
        self.params: dict[str, tuple[dict[str, Any], ParamMarker]] = {}
        self.names: dict[Bound[Any], str] = {}

    def build(self) -> Described:
        for declaration in self.declarations:
            self.problems[declaration] += declaration.problems
            self.problems[declaration] += self.signatures[declaration].problems
            self.check_name(declaration)
            for bound in declaration.bound:
                self.names[bound] = self.bound_name(declaration, bound)
        keys = self.nodes()
        stages = {}
        for key in keys:
            self.current = key
            stages[self.name_of(key)] = self.stage(key)
        if len(stages) > MAX_STAGES:
            site = next(iter(self.declarations)).site
            raise_problems([Problem(site, f"there are {len(stages)} stages, more than {MAX_STAGES}")], self.root)
        raise_problems((problem for problems in self.problems.values() for problem in sorted(problems, key=_line)), self.root)
        plan = {
            "version": 1,
            "stages": [stages[name] for name in sorted(stages)],
            "params": [self.params[name][0] for name in sorted(self.params)],
        }
        return Described(plan, {self.name_of(key): key.site for key in keys})

    def complain(self, text: str, hint: str | None = None, site: Site | None = None) -> None:
        """Note a problem of the node that is being made."""
        declaration = self.current.declaration
        text = f"stage {declaration.name!r}: {text}"
        self.problems[declaration].append(Problem(site or self.current.site, text, hint))

    # Names

    def check_name(self, declaration: Declaration) -> None:
        if not isinstance(declaration.name, str) or not FUNCTION_NAME.fullmatch(declaration.name):
            problem = Problem(
                declaration.site,
                f"{declaration.name!r} cannot be the name of a stage",
                "a name has at most 100 letters, digits and underscores: @stage(name=…)",
            )
            self.problems[declaration].append(problem)

    def bound_name(self, declaration: Declaration, bound: Bound[Any]) -> str:
        """Return the name of a bound node, and note what is wrong with its values."""
        _, values, site = members(bound)
        self.current = _NodeKey(declaration, bound)
        parts = []
        for name, value in values.items():
            wanted = self.signatures[declaration].inputs[name]
            if wanted is None:
                continue
            encoded = self.value(name, value, wanted, site)
            if encoded is not MISSING:
                parts.append((name, encoded))
        if not values:
            self.complain("bind() was given no values", "name the inputs: bind(shard=0)", site)
        result = node_name(declaration.name, parts)
        if len(result.encode()) > MAX_NAME_BYTES or CONTROL.search(result):
            self.complain(
                f"the name {result[:60]!r}… of a bound stage is not allowed",
                f"it is made of the values; keep it below {MAX_NAME_BYTES} bytes and free of control characters",
                site,
            )
        return result

    def name_of(self, key: _NodeKey) -> str:
        return key.declaration.name if key.bound is None else self.names[key.bound]

    # Which nodes there are

    def nodes(self) -> list[_NodeKey]:
        """Return the nodes of the graph: a function that was bound has one of its own only where a stage refers to it."""
        found: dict[str, _NodeKey] = {}
        waiting: list[_NodeKey] = []

        def add(key: _NodeKey) -> None:
            # Binding the same values twice declares one node.
            if self.name_of(key) not in found:
                found[self.name_of(key)] = key
                waiting.append(key)

        for declaration in self.declarations:
            if not declaration.bound:
                add(_NodeKey(declaration, None))
            for bound in declaration.bound:
                add(_NodeKey(declaration, bound))
        while waiting:
            key = waiting.pop()
            for name in key.declaration.markers:
                for node in referred(key.source_of(name)):
                    if isinstance(node, Stage):
                        add(_NodeKey(members(node).declaration, None))
        self.found = found
        return sorted(found.values(), key=lambda key: key.declaration.order)

    def is_fanned(self, key: _NodeKey) -> bool:
        return any(isinstance(key.source_of(name), EachMarker) for name in key.declaration.markers)

    # One node

    def stage(self, key: _NodeKey) -> dict[str, Any]:
        declaration = key.declaration
        types = self.signatures[declaration]
        inputs = []
        for name in declaration.arguments:
            wanted = types.inputs[name]
            if wanted is not None:
                inputs.append({"name": name, "type": wanted.spec, "from": self.origin(key, name, wanted)})
        fanned = [name for name in declaration.markers if isinstance(key.source_of(name), EachMarker)]
        if len(fanned) > 1:
            self.complain(
                f"the inputs {' and '.join(map(repr, fanned))} are both fanned out",
                "use each() for one input: a list of frozen dataclasses can hold the combinations",
                key.declaration.markers[fanned[1]].site,
            )
        return {
            "name": self.name_of(key),
            "function": declaration.name,
            "doc": _first_paragraph(declaration.function.__doc__),
            "kind": declaration.options.kind,
            "inputs": inputs,
            "output": types.output.spec if types.output is not None else None,
            "after": sorted(self.after(declaration)),
            "policy": self.policy(declaration),
        }

    def after(self, declaration: Declaration) -> Iterator[str]:
        names: set[str] = set()
        for node in declaration.options.after:
            other = members(node).declaration
            if isinstance(node, Bound):
                names.add(self.names[node])
            else:
                names |= {self.names[bound] for bound in other.bound}
                if other.name in self.found:
                    names.add(other.name)
        return iter(names)

    def policy(self, declaration: Declaration) -> dict[str, Any]:
        options = declaration.options
        policy: dict[str, Any] = {}
        if options.idempotent is not None:
            policy["idempotent"] = bool(options.idempotent)
        if options.retry is not None:
            policy["retry"] = options.retry
            if type(options.retry) is not int or options.retry < 0:
                self.complain(f"retry is {options.retry!r}", "it is a number of times, such as 2", declaration.site)
            elif options.kind == "effect" and options.retry and not options.idempotent:
                hint = "declare idempotent=True where doing it twice is as good as once, or leave out retry"
                self.complain("an effect that is not idempotent cannot be retried", hint, declaration.site)
        if options.timeout is not None:
            policy["timeout_ms"] = milliseconds(options.timeout)
            if policy["timeout_ms"] is None:
                hint = 'write it as "1h30m", "90s" or "500ms"'
                self.complain(f"timeout is {options.timeout!r}", hint, declaration.site)
        return {name: value for name, value in policy.items() if value}

    # Where an input comes from

    def origin(self, key: _NodeKey, name: str, wanted: Type) -> dict[str, Any]:
        """Return FROM of an input."""
        source = key.source_of(name)
        if source is MISSING:
            site = key.site if key.bound else _argument_site(key.declaration, name)
            hint = f"give it a default: out(…), source(…), param() or a plain value; or bind it: bind({name}=…)"
            self.complain(f"input {name!r} has no value", hint, site)
            return {}
        match source:
            case EachMarker():
                return self.each(name, source, wanted)
            case OutMarker() | GatherMarker():
                return self.edge(name, source, wanted)
            case ParamMarker():
                return self.param(name, source, wanted)
            case SourceMarker():
                self.expect(name, _types.DIRECTORY, wanted, source)
                self.check_source(source)
                return {"source": {"globs": list(source.globs), "root": source.root}}
            case SecretMarker():
                self.expect(name, _types.SECRET, wanted, source)
                if not isinstance(source.name, str) or not source.name:
                    self.complain(f"{source} has no name", site=source.site)
                return {"secret": source.name}
        is_bound = key.bound is not None and name in members(key.bound).values
        return {"value": self.value(name, source, wanted, key.site if is_bound else None)}

    def value(self, name: str, value: object, wanted: Type, site: Site | None) -> Any:
        try:
            encoded = wanted.encode(value, f"input {name!r}")
            canonical(encoded)
        except (MismatchError, TowpathError) as error:
            if isinstance(value, Marker):
                hint = "bind() takes plain values; edges and sources are defaults of the stage function"
            else:
                hint = "the value has to be of the type that the input is annotated with"
            self.complain(str(error), hint, site or _argument_site(self.current.declaration, name))
            return MISSING
        return encoded

    def expect(self, name: str, given: Type | None, wanted: Type, marker: Marker) -> None:
        if given is not None and not _types.fits(given, wanted):
            self.complain(f"input {name!r} is {wanted.name}, but {marker} gives {given.name}", site=marker.site)

    def edge(self, name: str, marker: OutMarker | GatherMarker, wanted: Type) -> dict[str, Any]:
        """Return FROM of an edge, and check that it fits."""
        if isinstance(marker, OutMarker):
            key = self.key_of(marker.node)
            if self.is_fanned(key):
                hint = f"its output is a list that can only be gathered: gather({key.declaration.name})"
                self.complain(f"{marker} refers to a stage that is fanned out", hint, marker.site)
            else:
                self.expect(name, self.signatures[key.declaration].output, wanted, marker)
            return {"stage": self.name_of(key)}
        keys = [self.key_of(node) for node in marker.nodes]
        outputs = {key.declaration: self.signatures[key.declaration].output for key in keys}
        for output in outputs.values():
            self.expect(name, output and _types.ListOf(output), wanted, marker)
        if not keys and not isinstance(wanted, _types.ListOf):
            self.complain(f"input {name!r} is {wanted.name}, but {marker} gives a list", site=marker.site)
        return {"gather": [self.name_of(key) for key in keys]}

    def key_of(self, node: Node[Any]) -> _NodeKey:
        declaration = members(node).declaration
        return _NodeKey(declaration, node if isinstance(node, Bound) else None)

    def each(self, name: str, marker: EachMarker, wanted: Type) -> dict[str, Any]:
        items = marker.items
        wanted_list = _types.ListOf(wanted)
        if isinstance(items, OutMarker | GatherMarker):
            return {"each": self.edge(name, items, wanted_list)}
        if isinstance(items, Marker):
            hint = "each() takes out(…) of a stage that returns a list, gather(…), or a plain list"
            self.complain(f"{marker} is not over a list", hint, marker.site)
            return {}
        return {"each": {"value": self.value(name, items, wanted_list, marker.site)}}

    def param(self, argument: str, marker: ParamMarker, wanted: Type) -> dict[str, Any]:
        name = argument if marker.name is None else marker.name
        if wanted not in _types.PARAM_TYPES:
            hint = "a parameter is str, int, float or bool"
            self.complain(f"input {argument!r} is {wanted.name}, which a parameter cannot be", hint, marker.site)
            return {"param": name}
        param: dict[str, Any] = {"name": name, "type": wanted.spec}
        if marker.default is not MISSING:
            param["default"] = self.value(argument, marker.default, wanted, marker.site)
        for member, text in (("env", marker.env), ("doc", marker.doc)):
            if text is not None:
                param[member] = " ".join(text.split()) if member == "doc" else text
        other, first = self.params.setdefault(name, (param, marker))
        if other != param:
            where = f"{relative(first.site.file, self.root)}:{first.site.line}"
            hint = "declare it once, in a variable, and use that as the default of both inputs"
            self.complain(f"parameter {name!r} is declared differently at {where}", hint, marker.site)
        return {"param": name}

    def check_source(self, marker: SourceMarker) -> None:
        if marker.root not in ("program", "repository"):
            self.complain(f"{marker} has the root {marker.root!r}", 'it is "program" or "repository"', marker.site)
        if all(glob.startswith("!") for glob in marker.globs):
            hint = 'name what to take: source("src", "!**/*.pyc")'
            self.complain(f"{marker} takes nothing", hint, marker.site)
        for glob in marker.globs:
            path = glob.removeprefix("!")
            if not path or path.startswith("/") or ".." in path.split("/"):
                hint = "paths are relative to the root, with `/`, and stay below it"
                self.complain(f"{marker} has the glob {glob!r}", hint, marker.site)


def milliseconds(duration: object) -> int | None:
    """Return a duration in milliseconds; None where it is none, or not positive."""
    if isinstance(duration, str):
        match = DURATION.fullmatch(duration)
        if match is None or not duration:
            return None
        factors = (3_600_000, 60_000, 1000, 1)
        total = sum(int(part or 0) * factor for part, factor in zip(match.groups(), factors, strict=True))
    elif hasattr(duration, "total_seconds"):
        total = round(duration.total_seconds() * 1000)
    else:
        return None
    return total if total > 0 else None


def _line(problem: Problem) -> int:
    return problem.site.line


def _first_paragraph(doc: str | None) -> str:
    """Return the first paragraph of a docstring with its white space folded."""
    lines = (doc or "").strip().splitlines()
    paragraph = []
    for line in lines:
        if not line.strip():
            break
        paragraph.append(line)
    return " ".join(" ".join(paragraph).split())
