"""The stages are functions: call them, and look at what they asked the engine to do."""

import asyncio
import sys
from collections.abc import Iterator

import pytest
from towpath import StepError
from towpath.testing import FakeEngine

import stages.test
from stages.coverage import coverage
from stages.deps import deps
from stages.lint import lint
from stages.publish import publish
from stages.smoke import smoke
from stages.test import SHARDS, ShardResult
from stages.wheel import wheel

JUNIT = '<testsuite><testcase name="a" time="0.5"/><testcase name="b"/></testsuite>'


@pytest.fixture
def engine() -> Iterator[FakeEngine]:
    with FakeEngine() as engine:
        yield engine


def run_shard(engine: FakeEngine, shard: int) -> ShardResult:
    engine.on_run(sys.executable, "-m", "coverage", "run").returns(
        outputs={"coverage.data": f"data {shard}", "report.xml": JUNIT}
    )
    names = ["__init__.py", "conftest.py", "test_a.py", "test_b.py", "test_c.py"]
    code = engine.directory({f"tests/{name}": "" for name in names})
    return asyncio.run(stages.test.test(code=code, deps=engine.directory({}), shard=shard))


def test_packages_are_installed_only_with_the_hashes_of_the_lock(engine: FakeEngine) -> None:
    engine.on_run(sys.executable, "-m", "pip", "install").returns(outputs={"deps/a.py": "a = 1"})
    lock = engine.directory({"requirements.lock": "a==1 --hash=sha256:…"})
    installed = asyncio.run(deps(lock=lock))
    assert engine.files_of(installed) == {"a.py": b"a = 1"}
    (step,) = engine.steps
    assert {"--require-hashes", "--no-deps", "--only-binary"} <= set(step.args)
    assert step.tree == lock
    assert step.network


def test_both_linters_see_all_code(engine: FakeEngine) -> None:
    engine.on_run("deps/bin/ruff").returns()
    asyncio.run(lint(code=engine.directory({"src/a.py": ""}), deps=engine.directory({})))
    assert not any(step.network for step in engine.steps)
    assert [step.args[1] for step in engine.steps] == ["check", "format"]


def test_bad_style_fails_the_stage(engine: FakeEngine) -> None:
    engine.on_run("deps/bin/ruff", "check").returns()
    engine.on_run("deps/bin/ruff", "format").returns(exit_code=1)
    with pytest.raises(StepError, match="exit code 1"):
        asyncio.run(lint(code=engine.directory({"src/a.py": ""}), deps=engine.directory({})))


def test_every_test_module_is_in_one_shard(engine: FakeEngine) -> None:
    for shard in range(SHARDS):
        run_shard(engine, shard)
    modules = [arg for step in engine.steps for arg in step.args if arg.startswith("tests/")]
    assert sorted(modules) == ["tests/test_a.py", "tests/test_b.py", "tests/test_c.py"]


def test_a_shard_reports_its_tests(engine: FakeEngine) -> None:
    tested = run_shard(engine, 0)
    assert (tested.report.tests, tested.report.failures, tested.report.time_ms) == (2, 0, 500)
    assert engine.content_of(tested.coverage) == b"data 0"


def test_coverage_adds_up_the_shards(engine: FakeEngine) -> None:
    shards = [run_shard(engine, shard) for shard in range(SHARDS)]
    tool = (sys.executable, "-m", "coverage")
    engine.on_run(*tool, "combine").returns(outputs={"coverage.data": "all"})
    engine.on_run(*tool, "report").returns(stdout="99.5\n")
    engine.on_run(*tool, "xml").returns(outputs={"coverage.xml": "<coverage/>"})
    empty = engine.directory({})
    covered = asyncio.run(coverage(code=empty, deps=empty, shards=shards))
    assert (covered.percent, covered.tests) == (99.5, 2 * SHARDS)
    combine = engine.steps[-3]
    assert engine.files_of(combine.tree) == {"parts/0": b"data 0", "parts/1": b"data 1"}


def test_the_wheel_is_built_without_network(engine: FakeEngine) -> None:
    engine.on_run(sys.executable, "-m", "pip", "wheel").returns(
        outputs={"dist/parcels-1.0.0-py3-none-any.whl": "zip"}
    )
    built = asyncio.run(wheel(code=engine.directory({}), deps=engine.directory({})))
    assert built.name == "parcels-1.0.0-py3-none-any.whl"
    assert {"--no-index", "--no-build-isolation"} <= set(engine.steps[0].args)


def test_smoke_runs_the_installed_wheel(engine: FakeEngine) -> None:
    engine.on_run(sys.executable, "-m", "pip", "install").returns(
        outputs={"site/parcels/__init__.py": ""}
    )
    engine.on_run(sys.executable, "checks/smoke.py").returns(stdout="parcels 1.0.0 works\n")
    answer = asyncio.run(
        smoke(
            checks=engine.directory({"checks/smoke.py": ""}),
            deps=engine.directory({"starlette/__init__.py": ""}),
            wheel=engine.file("parcels-1.0.0-py3-none-any.whl"),
        )
    )
    assert answer == "parcels 1.0.0 works"
    assert engine.steps[-1].env["PYTHONPATH"] == "site:deps"


def test_publish_puts_the_wheel_into_the_index(
    engine: FakeEngine, tmp_path_factory: pytest.TempPathFactory
) -> None:
    index = tmp_path_factory.mktemp("index")
    file = engine.file("parcels-1.0.0-py3-none-any.whl", "zip")
    assert asyncio.run(publish(wheel=file, index=str(index))) == str(index / file.name)
    assert (index / file.name).read_text() == "zip"
