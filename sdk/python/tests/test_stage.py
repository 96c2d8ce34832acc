"""Stages as plain functions, and the package itself."""

from __future__ import annotations

import asyncio
import copy
import pickle
import subprocess
import sys
from pathlib import Path

import pytest

import towpath
from towpath import (
    Cancelled,
    Directory,
    Entry,
    File,
    MissingInputError,
    OperationError,
    PipelineError,
    Secret,
    StepError,
    StepResult,
    TowpathError,
    UsageError,
    each,
    gather,
    log,
    out,
    param,
    run,
    secret,
    source,
    stage,
)
from towpath._glob import matcher

SDK = Path(__file__).resolve().parent.parent / "src"
TREE = Directory(digest="a" * 64 + "/1")
FILE = File(digest="b" * 64 + "/2", executable=False, name="x")


@stage
async def environment(lock: Directory = source("uv.lock")) -> str:
    """Make it."""
    return lock.digest


@stage(retry=1)
def report(
    src: Directory = source("src"),
    env: str = out(environment),
    level: str = param("low"),
    required: int = param(),
    *,
    token: Secret = secret("TOKEN"),
    shard: int = 3,
) -> str:
    return f"{src.digest[0]} {env} {level} {required} {token.name} {shard}"


@stage
def fanned(x: int = each([1]), more: list[str] = gather(environment)) -> int:
    return x


def test_a_stage_is_called_as_a_function() -> None:
    assert asyncio.run(environment(TREE)) == TREE.digest
    assert asyncio.run(environment(lock=TREE)) == TREE.digest
    assert report(TREE, "e", required=1, token=Secret("T")) == "a e low 1 T 3"
    assert report(TREE, "e", "high", 1, token=Secret("T"), shard=0) == "a e high 1 T 0"
    assert fanned(4, []) == 4


@pytest.mark.parametrize(
    ("given", "argument", "text"),
    [
        ({}, "src", "'report' was called without 'src', which it takes from source('src')"),
        ({"src": TREE}, "env", "out(environment)"),
        ({"src": TREE, "env": ""}, "required", "param()"),
        ({"src": TREE, "env": "", "required": 1}, "token", "secret('TOKEN')"),
    ],
)
def test_an_input_that_was_left_out(given: dict[str, object], argument: str, text: str) -> None:
    with pytest.raises(MissingInputError) as caught:
        report(**given)  # type: ignore[arg-type]
    assert caught.value.argument == argument
    assert text in str(caught.value)
    assert isinstance(caught.value, TypeError)


def test_a_stage_shows_what_it_is() -> None:
    assert repr(environment) == "<stage environment>"
    assert repr(report.bind(shard=1)) == "<stage report with shard=1>"
    assert environment.__doc__ == "Make it."
    assert environment.__name__ == "environment"
    assert environment.__module__ == __name__


def test_operations_need_a_stage() -> None:
    with pytest.raises(UsageError, match="run\\('true'\\) needs an engine"):
        run("true")


def test_log_outside_of_a_stage(capsys: pytest.CaptureFixture[str]) -> None:
    log("text", "warning", size=1)
    assert capsys.readouterr().err == "warning: text size=1\n"
    with pytest.raises(ValueError, match="unknown log level 'loud'"):
        log("text", "loud")  # type: ignore[arg-type]


def test_values_are_immutable_records() -> None:
    same = File(FILE.digest, False, "x")  # positional, in the order of the fields
    assert same == FILE
    assert hash(same) == hash(FILE)
    assert same != TREE
    assert repr(FILE) == f"File(digest={FILE.digest!r}, executable=False, name='x')"
    assert FILE.size == 2
    with pytest.raises(AttributeError):
        FILE.name = "y"  # type: ignore[misc]
    with pytest.raises(AttributeError):
        del FILE.name
    with pytest.raises(TypeError, match="takes exactly the arguments digest, executable, name"):
        File(digest="x")  # type: ignore[call-arg]
    assert copy.deepcopy(FILE) == pickle.loads(pickle.dumps(FILE)) == FILE


def test_the_fields_of_values_are_in_the_order_of_their_annotations() -> None:
    for value in (File, Directory, towpath.TestReport, Secret, Entry, StepResult):
        assert list(value.__annotations__) == list(value.__slots__)


def test_a_secret_is_a_handle() -> None:
    assert [name for name in dir(Secret("T")) if not name.startswith("_")] == ["name"]


def test_a_report_has_passed_where_nothing_failed() -> None:
    for errors, failures in ((0, 0), (1, 0), (0, 1)):
        outcome = towpath.TestReport(errors=errors, failures=failures, junit=FILE, skipped=1, tests=3, time_ms=0)
        assert outcome.passed == (errors == failures == 0)


def test_a_step_result() -> None:
    entries = (
        Entry("file", "dist/a.whl", None, FILE),
        Entry("symlink", "dist/b.whl", "a.whl", None),
        Entry("directory", "docs", None, TREE),
    )
    result = StepResult(False, 0, entries, FILE, FILE, TREE)
    assert result.file("dist/a.whl") == FILE
    assert result.directory("docs") == TREE
    assert result.files("dist/*.whl") == [FILE]
    assert result.files() == [FILE]
    for wrong in ("docs", "dist/b.whl", "nowhere"):
        with pytest.raises(OperationError) as caught:
            result.file(wrong)
        assert caught.value.code == "not_found"


def test_the_tree_of_exceptions() -> None:
    for error in (PipelineError, StepError, OperationError, UsageError, MissingInputError):
        assert issubclass(error, TowpathError)
    assert not issubclass(Cancelled, Exception)


def test_everything_public_is_exported_and_documented() -> None:
    public = {name for name in vars(towpath) if not name.startswith("_")}
    modules = {name for name in public if isinstance(getattr(towpath, name), type(sys))}
    assert public - modules == set(towpath.__all__) - {"__version__"}
    assert towpath.__all__ == sorted(towpath.__all__)
    for name in public - modules:
        thing = getattr(towpath, name)
        assert thing.__doc__, name
        for member, value in vars(thing).items() if isinstance(thing, type) else ():
            if callable(value) and not member.startswith("_"):
                assert value.__doc__, f"{name}.{member}"


HEAVY = {"asyncio", "inspect", "dataclasses", "subprocess", "logging", "pathlib", "json", "hashlib", "threading", "importlib.util"}


def test_importing_is_cheap() -> None:
    code = f"import sys; sys.path.insert(0, {str(SDK)!r}); import towpath; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-I", "-S", "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not HEAVY & set(loaded)


MATCHES = [
    ("src", "src", True),
    ("src", "src/a/b.py", True),
    ("src/", "src/a", True),
    ("src", "srcs", False),
    ("*.py", "a.py", True),
    ("*.py", "a/b.py", False),
    ("**/*.py", "b.py", True),
    ("**/*.py", "a/b/c.py", True),
    ("a/**", "a", True),
    ("a/**", "a/b/c", True),
    ("a/**/c", "a/c", True),
    ("a/**/c", "a/b/b/c", True),
    ("**", "a/b", True),
    ("a?c", "abc", True),
    ("a?c", "a/c", False),
    ("[a-c]x", "bx", True),
    ("[!a-c]x", "bx", False),
    ("[^a-c]x", "dx", True),
    ("[^a]x", "/x", False),
    ("*.{py,txt}", "a.txt", True),
    ("{a,b/{c,d}}/x", "b/d/x", True),
    ("{a,b}", "c", False),
    ("a,b", "a,b", True),
    ("a\\*", "a*", True),
    ("a\\*", "ab", False),
    ("a.b", "axb", False),
    ("{**/x,y}", "a/b/x", True),
]


@pytest.mark.parametrize(("glob", "path", "expected"), MATCHES)
def test_globs(glob: str, path: str, expected: bool) -> None:
    assert matcher([glob])(path) is expected


def test_globs_that_take_away() -> None:
    matches = matcher(["src", "!**/*.pyc", "src/keep.pyc"])
    assert [matches(path) for path in ("src/a", "src/a.pyc", "src/keep.pyc", "a.pyc")] == [True, False, True, False]


@pytest.mark.parametrize("glob", ["{a", "a}", "[a", "{a,{b}"])
def test_globs_that_are_malformed(glob: str) -> None:
    if glob == "a}":
        assert matcher([glob])("a}")
    else:
        with pytest.raises(ValueError, match="not closed"):
            matcher([glob])
