"""What a type checker says of pipelines: good ones are clean under `mypy --strict`, and each mistake is an error."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path

SDK = Path(__file__).resolve().parent.parent / "src"

GOOD = """
    import asyncio
    from collections.abc import Coroutine
    from dataclasses import dataclass
    from datetime import timedelta
    from typing import Any, assert_type

    from towpath import (
        Bound, Directory, File, Pending, Secret, Stage, StepResult, TestReport,
        each, effect, gather, log, out, param, run, secret, source, stage, tool,
    )
    from towpath.testing import FakeEngine, plan

    @dataclass(frozen=True)
    class Env:
        tree: Directory
        name: str | None = None

    @stage
    async def env(lock: Directory = source("uv.lock", root="repository")) -> Env:
        result = await run("uv", "sync", tree={"": lock}, outputs=["env"], ok=[0, 2], env={"A": "b"})
        assert_type(result, StepResult)
        return Env(result.directory("env"))

    @stage(retry=2, timeout="10m")
    async def test(src: Directory = source("src"), env: Env = out(env), shard: int = 0) -> TestReport:
        pending = run("pytest", tree=src)
        assert_type(pending, Pending[StepResult])
        a, b = await asyncio.gather(pending, tool("git"))
        assert_type(a, StepResult)
        assert_type(b, str)
        async with asyncio.TaskGroup() as group:
            task = group.create_task(a.stdout.text())
        assert_type(task.result(), str)
        async for chunk in a.stdout.chunks():
            assert_type(chunk, bytes)
        return await TestReport.from_junit(a.file("report.xml"))

    @stage(timeout=timedelta(minutes=1))
    def versions() -> list[str]:
        log("hello", "debug", size=1)
        path: str = tool("python").wait()
        return [path]

    @stage(name="build_one")
    def build(version: str = each(out(versions)), jobs: int = each([1, 2])) -> File:
        return File.from_text("a", version).wait()

    @effect(after=[test, test.bind(shard=1)], idempotent=True)
    async def publish(
        reports: list[TestReport] = gather(test.bind(shard=i) for i in range(4)),
        wheels: list[File] = gather(build),
        both: list[TestReport] = gather([test, test.bind(shard=7)]),
        index: str = param("staging", env="INDEX", doc="where to"),
        size: float = param(1),
        count: int = param(),
        token: Secret = secret("TOKEN"),
        maybe: File | None = out(build.bind(version="1")),
    ) -> str:
        return index

    assert_type(test.bind(shard=1), Bound[TestReport])
    assert_type(out(env), Env)
    assert_type(gather(build), list[File])

    async def test_as_functions(tree: Directory) -> None:
        assert_type(await env(tree), Env)
        assert_type(await env(lock=tree), Env)
        assert_type(versions(), list[str])
        with FakeEngine() as engine:
            engine.on_run("pytest").returns(exit_code=1, outputs={"a": b""})
        assert_type(plan("pipeline.py"), dict[str, Any])
"""

BAD = """
    import asyncio
    from towpath import *

    @stage
    async def report() -> TestReport: raise NotImplementedError
    @stage
    def names() -> list[str]: return []

    @stage
    def a(x: Directory = out(report)) -> None: ...  # assignment
    @stage
    def b(x: list[File] = gather(report)) -> None: ...  # arg-type
    @stage
    def c(x: int = each(out(names))) -> None: ...  # assignment
    @stage
    def d(x: int = param("text")) -> None: ...  # assignment
    @stage
    def e(x: str = source("a")) -> None: ...  # assignment
    @stage
    def f(x: str = secret("a")) -> None: ...  # assignment
    def plain() -> int: return 1
    @stage
    def g(x: int = out(plain)) -> None: ...  # arg-type
    @stage(retries=1)  # call-overload
    def h() -> None: ...
    names(1)  # call-arg
    async def calls() -> None:
        x: str = await report()  # assignment
        run("a", 1)  # arg-type
        y: str = run("a")  # assignment
    effect(after=report)(plain)  # call-overload
    File(digest="a", executable=False, name="b").name = "c"  # misc
    source("a", root="home")  # arg-type
    log("a", "loud")  # arg-type
    run("a", tree={"a": "b"})  # dict-item
"""


def check(tmp_path: Path, text: str) -> list[str]:
    program = tmp_path / "pipeline.py"
    program.write_text(textwrap.dedent(text))
    # The checker's own configuration must not make the program look better than it is.
    configuration = tmp_path / "mypy.ini"
    configuration.write_text("[mypy]\n")
    command: list[str | Path] = [
        sys.executable,
        "-m",
        "mypy",
        "--strict",
        "--config-file",
        configuration,
        "--cache-dir",
        tmp_path / "cache",
        program,
    ]
    done = subprocess.run(command, env={**os.environ, "MYPYPATH": str(SDK)}, capture_output=True, text=True, check=False)
    assert not done.stderr, done.stderr
    return [line for line in done.stdout.splitlines() if ": error: " in line]


def test_good_programs_are_clean(tmp_path: Path) -> None:
    assert check(tmp_path, GOOD) == []


def test_every_mistake_is_an_error(tmp_path: Path) -> None:
    errors: dict[int, set[str]] = {}
    for line in check(tmp_path, BAD):
        place, _, message = line.partition(": error: ")
        errors.setdefault(int(place.rpartition(":")[2]), set()).add(message.rpartition("[")[2].rstrip("]"))
    lines = textwrap.dedent(BAD).splitlines()
    expected = {number: text.rpartition("# ")[2] for number, text in enumerate(lines, 1) if "  # " in text}
    assert sorted(errors) == sorted(expected), errors
    assert {number: code for number, code in expected.items() if code not in errors[number]} == {}, errors
