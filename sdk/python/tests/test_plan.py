"""What a program declares, in its plan."""

from __future__ import annotations

import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from towpath import PipelineError, testing

Plan = Callable[[str], dict[str, Any]]
Write = Callable[..., Path]


def origins(stage: dict[str, Any]) -> dict[str, Any]:
    return {given["name"]: given["from"] for given in stage["inputs"]}


def types(stage: dict[str, Any]) -> dict[str, Any]:
    return {given["name"]: given["type"] for given in stage["inputs"]}


def test_one_stage(plan_of: Plan) -> None:
    plan = plan_of('''
        @stage
        async def build(src: Directory = source("src", "!**/*.pyc"), jobs: int = 2) -> File:
            """Build   the
            wheel.

            At length.
            """
            raise NotImplementedError
    ''')
    assert plan == {
        "version": 1,
        "params": [],
        "stages": [
            {
                "name": "build",
                "function": "build",
                "doc": "Build the wheel.",
                "kind": "stage",
                "inputs": [
                    {"name": "src", "type": "directory", "from": {"source": {"globs": ["src", "!**/*.pyc"], "root": "program"}}},
                    {"name": "jobs", "type": "int", "from": {"value": 2}},
                ],
                "output": "file",
                "after": [],
                "policy": {},
            }
        ],
    }


def test_policy_and_kind(stages_of: Plan) -> None:
    stages = stages_of("""
        from datetime import timedelta
        @stage(retry=0, timeout="1h30m5s20ms")
        def a() -> None: ...
        @effect(after=[a], idempotent=True, retry=3, timeout=timedelta(minutes=1))
        def b() -> None: ...
        @effect(idempotent=False)
        def c() -> None: ...
    """)
    assert stages["a"]["policy"] == {"timeout_ms": 5_405_020}
    assert stages["b"]["policy"] == {"idempotent": True, "retry": 3, "timeout_ms": 60_000}
    assert stages["c"]["policy"] == {}
    assert [stages[name]["kind"] for name in "abc"] == ["stage", "effect", "effect"]
    assert stages["b"]["after"] == ["a"]


def test_edges(stages_of: Plan) -> None:
    stages = stages_of("""
        @stage
        async def items() -> list[str]: return []
        @stage
        def one(x: str = each(out(items))) -> int: return 1
        @stage
        def plain(x: int = each([3, 4])) -> int: return 1
        @stage
        def all(a: list[int] = gather(one), b: list[int] = gather([one, plain]), c: list[str] = out(items),
                d: str | None = out(maybe) if False else None) -> None: ...
        @stage
        def nothing(a: list[File] = gather([])) -> None: ...
        @stage
        def deep(a: int = each(gather(plain))) -> None: ...
    """)
    assert origins(stages["one"]) == {"x": {"each": {"stage": "items"}}}
    assert origins(stages["plain"]) == {"x": {"each": {"value": [3, 4]}}}
    assert origins(stages["all"]) == {
        "a": {"gather": ["one"]},
        "b": {"gather": ["one", "plain"]},
        "c": {"stage": "items"},
        "d": {"value": None},
    }
    assert origins(stages["nothing"]) == {"a": {"gather": []}}
    assert origins(stages["deep"]) == {"a": {"each": {"gather": ["plain"]}}}


def test_an_optional_input_takes_what_is_there(stages_of: Plan) -> None:
    stages = stages_of("""
        @stage
        def a() -> File: raise NotImplementedError
        @stage
        def b(x: File | None = out(a), y: float = 1) -> None: ...
    """)
    assert types(stages["b"]) == {"x": {"optional": "file"}, "y": "float"}
    assert origins(stages["b"]) == {"x": {"stage": "a"}, "y": {"value": 1.0}}
    assert isinstance(origins(stages["b"])["y"]["value"], float)


def test_params_and_secrets(plan_of: Plan) -> None:
    plan = plan_of("""
        level = param("x", name="LEVEL", doc="  How\\n much ")
        @stage
        def a(index: str = param("staging", env="INDEX"), n: int = param(), f: float = param(1), b: bool = param(False),
              l: str = level, t: Secret = secret("TOKEN")) -> None: ...
        @stage
        def b(l: str = level, n: int = param()) -> None: ...
    """)
    assert plan["params"] == [
        {"name": "LEVEL", "type": "string", "default": "x", "doc": "How much"},
        {"name": "b", "type": "bool", "default": False},
        {"name": "f", "type": "float", "default": 1.0},
        {"name": "index", "type": "string", "default": "staging", "env": "INDEX"},
        {"name": "n", "type": "int"},
    ]
    (a, _) = plan["stages"]
    assert origins(a)["t"] == {"secret": "TOKEN"}
    assert types(a)["t"] == "secret"
    assert origins(a)["l"] == {"param": "LEVEL"}


def test_types(stages_of: Plan) -> None:
    stages = stages_of(
        """
        from __future__ import annotations
        import typing
        from dataclasses import dataclass
        Name = typing.NewType("Name", str)
        @dataclass(frozen=True)
        class Inner:
            files: dict[str, list[File]]
            other: "str | None" = None
        @dataclass(frozen=True)
        class Outer(Inner):
            kind: typing.ClassVar[int] = 0
            inner: typing.Optional[Inner] = None
            report: typing.Annotated[TestReport | None, "doc"] = None
        @stage
        def a(n: Name, t: typing.List["Secret"], m: typing.Dict[str, bool] = {}) -> Outer: ...
        a.bind(n="x", t=[])
        @stage
        def b() -> None: ...
    """.replace("from __future__ import annotations", "")
    )
    inner = {
        "record": {
            "name": "Inner",
            "fields": [{"name": "files", "type": {"map": {"list": "file"}}}, {"name": "other", "type": {"optional": "string"}}],
        }
    }
    (name,) = set(stages) - {"b"}
    assert types(stages[name]) == {"n": "string", "t": {"list": "secret"}, "m": {"map": "bool"}}
    fields = stages[name]["output"]["record"]["fields"]
    assert [field["name"] for field in fields] == ["files", "other", "inner", "report"]
    assert fields[2]["type"] == {"optional": inner}
    assert fields[3]["type"] == {"optional": "test_report"}
    assert stages["b"]["output"] == "null"


def test_annotations_as_strings(write: Write) -> None:
    program = write("""
        from __future__ import annotations
        from towpath import Directory, File, source, stage
        def make():
            class Local: ...
            from dataclasses import dataclass
            @dataclass(frozen=True)
            class Size:
                bytes: int
            @stage
            def sized(src: Directory = source("."), unit: Size = Size(1)) -> list[Size]:
                return [Size(1)]
            return sized
        sized = make()
    """)
    (stage,) = testing.plan(program)["stages"]
    assert stage["inputs"][1]["from"] == {"value": {"bytes": 1}}
    assert stage["output"]["list"]["record"]["name"] == "Size"


def test_families(stages_of: Plan) -> None:
    stages = stages_of("""
        @stage
        def test(os: str, n: int = 0, ok: bool = True) -> int: return 1
        @stage
        def report(a: list[int] = gather(test.bind(n=i, os=o) for i in range(2) for o in ("linux", "a b"))) -> None: ...
        @effect(after=[test])
        def ship() -> None: ...
        @stage(after=[test.bind(os="linux", n=0)])
        def other() -> None: ...
    """)
    members = ['test[os="a b",n=0]', 'test[os="a b",n=1]', "test[os=linux,n=0]", "test[os=linux,n=1]"]
    assert sorted(stages) == sorted([*members, "other", "report", "ship"])
    assert stages["ship"]["after"] == members
    assert stages["other"]["after"] == ["test[os=linux,n=0]"]
    assert stages["test[os=linux,n=1]"]["function"] == "test"
    assert origins(stages["test[os=linux,n=1]"]) == {"os": {"value": "linux"}, "n": {"value": 1}, "ok": {"value": True}}
    assert origins(stages["report"])["a"] == {
        "gather": ["test[os=linux,n=0]", 'test[os="a b",n=0]', "test[os=linux,n=1]", 'test[os="a b",n=1]']
    }


def test_a_family_has_a_node_of_its_own_where_it_is_referred_to(stages_of: Plan) -> None:
    stages = stages_of("""
        @stage
        def test(n: int = 0) -> int: return 1
        @stage
        def first(a: int = out(test), b: int = out(test.bind(n=1))) -> None: ...
        @stage(after=[test])
        def last() -> None: ...
    """)
    assert sorted(stages) == ["first", "last", "test", "test[n=1]"]
    assert stages["last"]["after"] == ["test", "test[n=1]"]


def test_a_reference_that_every_member_binds_away_is_none(stages_of: Plan) -> None:
    stages = stages_of("""
        @stage
        def number(n: int) -> int: return n
        @stage
        def uses(n: int = out(number)) -> int: return n
        number.bind(n=1)
        uses.bind(n=2)
    """)
    assert sorted(stages) == ["number[n=1]", "uses[n=2]"]


def test_stages_are_found_through_imports_and_edges(write: Write) -> None:
    write("from towpath import stage\n@stage\ndef hidden() -> int: return 1\n", "parts/deep.py")
    write("from towpath import stage, out\nfrom parts import deep\n@stage\ndef a(x: int = out(deep.hidden)) -> None: ...\n", "parts/a.py")
    program = write("from parts.a import a as renamed\nfrom parts import deep\n")
    assert [stage["name"] for stage in testing.plan(program)["stages"]] == ["a", "hidden"]


def test_stages_in_containers_are_found(stages_of: Plan) -> None:
    stages = stages_of("""
        def make(name):
            @stage(name=name)
            def check() -> int: return 1
            return check
        LISTED = [make("a"), make("b"), "other"]
        TUPLE, SET, DICT = (make("c"),), {make("d")}, {"key": make("e"), "effect": 3}
        @stage
        def shard(n: int) -> int: return n
        SHARDS = [shard.bind(n=n) for n in range(2)]
        del shard
    """)
    assert sorted(stages) == ["a", "b", "c", "d", "e", "shard[n=0]", "shard[n=1]"]


def test_stages_that_another_module_offers_need_not_be_used(write: Write) -> None:
    write("from towpath import stage\n@stage\ndef a() -> int: return 1\n@stage\ndef b() -> int: return 1\n", "shared.py")
    program = write("from shared import a\n")
    assert [stage["name"] for stage in testing.plan(program)["stages"]] == ["a"]


def test_a_lost_stage_of_another_module(write: Write) -> None:
    write("from towpath import stage\nfor name in 'ab':\n    @stage(name=name)\n    def f() -> int: return 1\n", "shared.py")
    with pytest.raises(PipelineError, match=r"shared\.py:3: stage 'a' is declared and cannot be reached"):
        testing.plan(write("import shared\n"))


def test_a_package(write: Write) -> None:
    write("from . import build\n", "pipeline/__init__.py")
    write("from towpath import stage\n@stage\ndef built() -> int: return 1\n", "pipeline/build.py")
    package = write("", "pipeline/unused.py").parent
    assert [stage["name"] for stage in testing.plan(package)["stages"]] == ["built"]


def test_loading_twice_loads_anew(write: Write) -> None:
    program = write("from towpath import stage\n@stage\ndef a() -> int: return 1\n")
    assert testing.plan(program)["stages"][0]["name"] == "a"
    write("from towpath import stage\n@stage\ndef b() -> int: return 1\n")
    assert testing.plan(program)["stages"][0]["name"] == "b"


# Declarations that are wrong. The first line of every program is an import, so that what follows starts on line 2.

WRONG = {
    "no input": (
        "@stage\ndef a(x: int,\n      y: str) -> None: ...",
        ["3: stage 'a': input 'x' has no value", "4: stage 'a': input 'y' has no value"],
    ),
    "no annotation": ("@stage\ndef a(x=1) -> None: ...", ["3: stage 'a': input 'x' has no type"]),
    "no output": ("@stage\ndef a(): ...", ["3: stage 'a': output has no type"]),
    "tuple": ("@stage\ndef a() -> tuple[int, str]: ...", ["3: stage 'a': output has the type tuple[int, str]", "hint: use list[T]"]),
    "set": ("@stage\ndef a(x: set[int] = {1}) -> None: ...", ["3: stage 'a': input 'x' has the type set[int]"]),
    "bytes": ("@stage\ndef a() -> bytes: ...", ["has the type bytes", "hint: store the bytes with File.from_bytes"]),
    "path": (
        "from pathlib import Path\n@stage\ndef a() -> Path: ...",
        ["4: stage 'a': output has the type Path", "hint: use File or Directory"],
    ),
    "any": ("from typing import Any\n@stage\ndef a() -> Any: ...", ["has the type Any"]),
    "union": ("@stage\ndef a() -> int | str: ...", ["has the type int | str"]),
    "bare list": ("@stage\ndef a() -> list: ...", ["has the type list", "hint: write list[T]"]),
    "dict keys": ("@stage\ndef a() -> dict[int, str]: ...", ["hint: the keys of a dict are strings"]),
    "step result": ("@stage\ndef a() -> StepResult: ...", ["hint: return its files"]),
    "pending": ("@stage\ndef a() -> Pending[int]: ...", ["hint: await the operation"]),
    "literal": ("from typing import Literal\n@stage\ndef a() -> Literal['a']: ...", ["hint: use str or int"]),
    "enum": ("import enum\nclass E(enum.Enum):\n    A = 1\n@stage\ndef a() -> E: ...", ["hint: use str or int"]),
    "named tuple": (
        "from typing import NamedTuple\nclass E(NamedTuple):\n    a: int\n@stage\ndef a() -> E: ...",
        ["hint: use a frozen dataclass"],
    ),
    "typed dict": (
        "from typing import TypedDict\nclass E(TypedDict):\n    a: int\n@stage\ndef a() -> E: ...",
        ["hint: use a frozen dataclass"],
    ),
    "not frozen": (
        "from dataclasses import dataclass\n@dataclass\nclass E:\n    a: int\n@stage\ndef a() -> E: ...",
        ["hint: write @dataclass(frozen=True)"],
    ),
    "field": (
        "from dataclasses import dataclass\n@dataclass(frozen=True)\nclass E:\n    a: set[int]\n@stage\ndef a() -> E: ...",
        ["has the type E, whose field 'a' has the type set[int]"],
    ),
    "recursive": (
        "from dataclasses import dataclass\n@dataclass(frozen=True)\nclass E:\n    a: 'list[E]'\n@stage\ndef a() -> E: ...",
        ["hint: a record cannot contain itself"],
    ),
    "unknown name": (
        "@stage\ndef a() -> 'Nowhere': ...",
        ["3: stage 'a': output has the type 'Nowhere', which cannot be evaluated: NameError"],
    ),
    "wrong edge": (
        "@stage\ndef a() -> int: ...\n@stage\ndef b(x: str = out(a)) -> None: ...",
        ["5: stage 'b': input 'x' is str, but out(a) gives int"],
    ),
    "wrong gather": (
        "@stage\ndef a() -> int: ...\n@stage\ndef b(x: list[str] = gather(a)) -> None: ...",
        ["5: stage 'b': input 'x' is list[str], but gather(a) gives list[int]"],
    ),
    "empty gather": ("@stage\ndef b(x: str = gather([])) -> None: ...", ["3: stage 'b': input 'x' is str, but gather() gives a list"]),
    "each of no list": (
        "@stage\ndef a() -> int: ...\n@stage\ndef b(x: int = each(out(a))) -> None: ...",
        ["5: stage 'b': input 'x' is list[int], but"],
    ),
    "each of a param": ("@stage\ndef b(x: int = each(param())) -> None: ...", ["each(param()) is not over a list"]),
    "two each": (
        "@stage\ndef b(x: int = each([1]), y: int = each([2])) -> None: ...",
        ["3: stage 'b': the inputs 'x' and 'y' are both fanned out"],
    ),
    "out of fanned": (
        "@stage\ndef a(x: int = each([1])) -> int: ...\n@stage\ndef b(x: int = out(a)) -> None: ...",
        ["5: stage 'b': out(a) refers to a stage that is fanned out", "gather(a)"],
    ),
    "each of fanned": (
        "@stage\ndef a(x: int = each([1])) -> list[int]: ...\n@stage\ndef b(x: int = each(out(a))) -> None: ...",
        ["5: stage 'b': out(a) refers to a stage that is fanned out"],
    ),
    "source type": (
        "@stage\ndef b(x: File = source('a')) -> None: ...",
        ["3: stage 'b': input 'x' is File, but source('a') gives Directory"],
    ),
    "no glob": ("@stage\ndef b(x: Directory = source('!a')) -> None: ...", ["source('!a') takes nothing"]),
    "glob above": ("@stage\ndef b(x: Directory = source('../a')) -> None: ...", ["has the glob '../a'"]),
    "source root": ("@stage\ndef b(x: Directory = source('a', root='home')) -> None: ...", ["has the root 'home'"]),
    "secret type": ("@stage\ndef b(x: str = secret('a')) -> None: ...", ["3: stage 'b': input 'x' is str, but secret('a') gives Secret"]),
    "param type": ("@stage\ndef b(x: list[str] = param()) -> None: ...", ["input 'x' is list[str], which a parameter cannot be"]),
    "param default": ("@stage\ndef b(x: int = param('1')) -> None: ...", ["3: stage 'b': input 'x' should be int, got str"]),
    "two params": (
        "@stage\ndef a(x: int = param(1)) -> None: ...\n@stage\ndef b(x: int = param(2)) -> None: ...",
        ["5: stage 'b': parameter 'x' is declared differently at pipeline.py:3"],
    ),
    "default": ("@stage\ndef b(x: int = True) -> None: ...", ["3: stage 'b': input 'x' should be int, got bool"]),
    "large int": ("@stage\ndef b(x: int = 1 << 63) -> None: ...", ["out of the range of 64 bits"]),
    "nan": ("@stage\ndef b(x: float = float('nan')) -> None: ...", ["not finite"]),
    "dollar": ("@stage\ndef b(x: dict[str, int] = {'$a': 1}) -> None: ...", ["starts with a dollar sign"]),
    "varargs": ("@stage\ndef b(*x: int) -> None: ...", ["2: stage 'b' takes *args or **kwargs"]),
    "positional": ("@stage\ndef b(x: int = 1, /) -> None: ...", ["2: stage 'b' has positional-only inputs"]),
    "generator": ("@stage\ndef b() -> int:\n    yield 1", ["2: stage 'b' is a generator"]),
    "retry": ("@stage(retry=-1)\ndef b() -> None: ...", ["2: stage 'b': retry is -1"]),
    "retried effect": ("@effect(retry=1)\ndef b() -> None: ...", ["an effect that is not idempotent cannot be retried"]),
    "timeout": ("@stage(timeout='soon')\ndef b() -> None: ...", ["2: stage 'b': timeout is 'soon'"]),
    "no timeout": ("@stage(timeout='0s')\ndef b() -> None: ...", ["timeout is '0s'"]),
    "name": ("@stage(name='a-b')\ndef b() -> None: ...", ["2: 'a-b' cannot be the name of a stage"]),
    "same name": (
        "@stage\ndef a() -> None: ...\n@stage(name='a')\ndef b() -> None: ...",
        ["4: stage 'a' is declared twice, also at pipeline.py:2"],
    ),
    "bound unknown": ("@stage\ndef a(x: int = 1) -> None: ...\na.bind(y=1)", ["4: stage 'a' has no input 'y' to bind", "its inputs: x"]),
    "bound type": ("@stage\ndef a(x: int = 1) -> None: ...\na.bind(x='1')", ["4: stage 'a': input 'x' should be int, got str"]),
    "bound edge": ("@stage\ndef a(x: int = 1) -> int: ...\na.bind(x=out(a))", ["bind() takes plain values"]),
    "bound nothing": ("@stage\ndef a(x: int = 1) -> None: ...\na.bind()", ["4: stage 'a': bind() was given no values"]),
    "bound missing": ("@stage\ndef a(x: int, y: int) -> None: ...\na.bind(x=1)", ["4: stage 'a': input 'y' has no value"]),
    "bound long": ("@stage\ndef a(x: str) -> None: ...\na.bind(x='x' * 300)", ["of a bound stage is not allowed"]),
    "bound control": ("@stage\ndef a(x: str) -> None: ...\na.bind(x='\\x7f')", ["of a bound stage is not allowed"]),
    "lost in a loop": (
        "for name in 'ab':\n    @stage(name=name)\n    def f() -> int: ...",
        ["3: stage 'a' is declared and cannot be reached: it is in no module-level name of the pipeline", "hint: bind it to"],
    ),
    "lost in a class": ("class Stages:\n    @effect\n    def lint() -> None: ...", ["3: stage 'lint' is declared and cannot be reached"]),
    "lost under a decorator": (
        "import functools\n@functools.lru_cache\n@stage\ndef a() -> int: ...",
        ["3: stage 'a' is declared and cannot be reached", "@stage has to be the topmost decorator"],
    ),
    "lost deep inside": (
        "def f():\n    @stage\n    def a() -> int: ...\n    return a\nSTAGES = [[f()]]",
        ["3: stage 'a' is declared and cannot be reached"],
    ),
    "the same name": (
        "@stage\ndef a() -> int: ...\n@stage\ndef a() -> str: ...",
        ["4: stage 'a' is declared twice, also at pipeline.py:2", "hint: give one of them another name"],
    ),
    "no stage": ("def a() -> int: ...\n@stage\ndef b(x: int = out(a)) -> None: ...", ["4: out() takes stages, not <function a"]),
    "no function": ("\nstage(3)", ["3: a stage has to be a function, not 3"]),
    "after one": ("@stage\ndef a() -> int: ...\n@stage(after=a)\ndef b() -> None: ...", ["4: after takes a list of stages", "after=[…]"]),
    "early use": ("@stage\ndef a() -> list[int]: ...\nx = out(a)\nfor i in x: pass", ["out(a) is a declaration: there is no value"]),
    "attribute": ("@stage\ndef a() -> File: ...\nx = out(a).digest", ["4: out(a) is a declaration: there is no value"]),
    "exception": ("\n1 / 0", ["3: the program cannot be loaded: ZeroDivisionError: division by zero"]),
    "syntax": ("\n\nx = = 1", ["4: the program cannot be loaded: SyntaxError"]),
    "exit": ("import sys\nsys.exit(3)", ["3: the program cannot be loaded: SystemExit: 3"]),
    "main": ("main()", ["main() was called by a program that is being imported"]),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_declarations(plan_of: Plan, name: str) -> None:
    text, expected = WRONG[name]
    with pytest.raises(PipelineError) as caught:
        plan_of(text)
    shown = str(caught.value)
    for part in expected:
        assert (f"pipeline.py:{part}" if part[0].isdigit() else part) in shown
    assert caught.value.file == "pipeline.py"
    assert caught.value.line is not None


def test_all_problems_are_reported_at_once_in_order(plan_of: Plan) -> None:
    with pytest.raises(PipelineError) as caught:
        plan_of("""
            @stage
            def z(x: set[int]) -> None: ...
            @stage(retry=-1)
            def a(x: int) -> bytes: ...
        """)
    lines = [line.split(": ")[0] for line in caught.value.message.splitlines()]
    assert lines == ["pipeline.py:4", "pipeline.py:5", "pipeline.py:6", "pipeline.py:6"]
    assert caught.value.line == 4


def test_the_graph_does_not_depend_on_the_order_of_declaration(plan_of: Plan) -> None:
    a, b = "@stage\ndef a() -> int: ...\n", "@stage\ndef b() -> int: ...\n"
    assert plan_of(a + b) == plan_of(b + a)


def test_a_decorated_function_keeps_its_inputs(stages_of: Plan) -> None:
    stages = stages_of(
        textwrap.dedent("""
        import functools
        def twice(function):
            @functools.wraps(function)
            def wrapper(*args, **kwargs): return function(*args, **kwargs)
            return wrapper
        @stage
        @twice
        def a(x: int = 1) -> int: return x
    """)
    )
    assert types(stages["a"]) == {"x": "int"}


def test_a_plan_leaves_no_traces(write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    write("from towpath import stage\n@stage\ndef a() -> int: return 1\n", "helper.py")
    program = write("from helper import a\n")
    before = list(sys.path), list(sys.path_hooks), set(sys.modules)
    assert [stage["name"] for stage in testing.plan(program)["stages"]] == ["a"]
    assert (list(sys.path), list(sys.path_hooks)) == before[:2]
    assert not {"helper", "pipeline"} & set(sys.modules)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["helper.py", "pipeline.py"]
    # The same size, and within the second that bytecode is checked by.
    write("from towpath import stage\n@stage\ndef b() -> int: return 1\n", "helper.py")
    write("from helper import b\n")
    assert [stage["name"] for stage in testing.plan(program)["stages"]] == ["b"]


def test_the_same_values_are_one_node(stages_of: Plan) -> None:
    stages = stages_of("""
        @stage
        def a(n: int) -> int: return n
        @stage
        def b(x: list[int] = gather([a.bind(n=1), a.bind(n=1)])) -> None: ...
    """)
    assert sorted(stages) == ["a[n=1]", "b"]
    assert origins(stages["b"])["x"] == {"gather": ["a[n=1]", "a[n=1]"]}
