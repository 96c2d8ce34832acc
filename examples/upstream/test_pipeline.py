"""The stages are functions: call them, and look at what they asked the engine to do."""

import asyncio
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from towpath import TestReport
from towpath.testing import FakeEngine, plan

import pipeline
from pipeline import Built, Interpreter, Job, Sdist, Shard, ShardResult


@pytest.fixture
def engine() -> Iterator[FakeEngine]:
    with FakeEngine() as engine:
        yield engine


def built(engine: FakeEngine, modules: int) -> Built:
    tests = {f"tests/test_{number:02}.py": "" for number in range(modules)}
    tree = engine.directory({"pyproject.toml": "", "tests/conftest.py": "", **tests})
    sdist = Sdist("click-1", engine.file("click-1.tar.gz"), tree)
    return Built(Job(sdist, Interpreter("3.12", "/python")), engine.directory({"click.py": ""}))


def report(engine: FakeEngine, tests: int, skipped: int) -> TestReport:
    junit = engine.file("report.xml")
    return TestReport(errors=0, failures=0, junit=junit, skipped=skipped, tests=tests, time_ms=1)


def test_interpreters_are_looked_for_behind_their_stand_ins(
    engine: FakeEngine, tmp_path: Path
) -> None:
    behind = tmp_path / "versions/3.12.10/bin/python3.12"
    for path in (behind, tmp_path / "versions/3.12.9/bin/python3.12"):
        path.parent.mkdir(parents=True)
        path.touch()
    engine.on_run(sys.executable).returns(stdout=f"3.11\n{sys.executable}\n")
    engine.on_tool("python3.12", f"{tmp_path}/shims/python3.12")
    engine.on_run(str(behind)).returns(stdout=f"3.12\n{behind}\n")
    engine.on_tool("python3.13", f"{tmp_path}/shims/python3.13")
    engine.on_run(f"{tmp_path}/shims/python3.13").returns(exit_code=127, stderr="not installed")
    assert asyncio.run(pipeline.interpreters()) == [
        Interpreter("3.11", sys.executable),
        Interpreter("3.12", str(behind)),
    ]


def test_only_downloads_use_the_network(engine: FakeEngine) -> None:
    engine.on_run(sys.executable, "-m", "pip").returns(outputs={"tools/pytest.py": ""})
    engine.on_run("sh", "-c").returns(outputs={"sdists/click-1.tar.gz": "", "site/click.py": ""})
    job = built(engine, 1).job
    tools = asyncio.run(pipeline.tools(lock=engine.directory({}), index="https://index.example"))
    asyncio.run(pipeline.sdists(lock=engine.directory({}), tools=tools, index=""))
    asyncio.run(pipeline.build(job=job, tools=tools))
    assert [step.network for step in engine.steps] == [True, True, False]
    urls = [step.env.get("PIP_INDEX_URL") for step in engine.steps]
    assert urls == ["https://index.example", None, None]


def test_every_module_is_in_one_shard(engine: FakeEngine) -> None:
    found = asyncio.run(pipeline.shards(builds=[built(engine, 40), built(engine, 1)]))
    assert [len(shard.modules) for shard in found] == [14, 13, 13, 1]
    assert len({module for shard in found[:3] for module in shard.modules}) == 40


def test_what_needs_a_missing_program_is_left_out(engine: FakeEngine) -> None:
    tree = engine.directory({"tests/test_a.py": "", "tests/test_utils/test_echo_via_pager.py": ""})
    job = Job(Sdist("click-1", engine.file("a"), tree), Interpreter("3.12", "/python"))
    builds = [Built(job, engine.directory({}))]
    (shard,) = asyncio.run(pipeline.shards(builds=builds))
    assert shard.modules == ["tests/test_a.py"]
    assert [line.level for line in engine.logs] == ["warning"]
    engine.on_tool("less", "/usr/bin/less")
    (shard,) = asyncio.run(pipeline.shards(builds=builds))
    assert len(shard.modules) == 2


def test_tests_see_the_installed_project_and_not_its_sources(engine: FakeEngine) -> None:
    engine.on_run("sh", "-c").returns(
        outputs={"report.xml": "<testsuite><testcase/><testcase/></testsuite>"}
    )
    shard = Shard(built(engine, 1), ["tests/test_00.py"])
    tested = asyncio.run(pipeline.test(shard=shard, tools=engine.directory({"pytest.py": ""})))
    assert (tested.project, tested.version, tested.report.tests) == ("click-1", "3.12", 2)
    assert set(engine.files_of(engine.steps[0].tree)) == {
        "pyproject.toml",
        "site/click.py",
        "tests/conftest.py",
        "tests/test_00.py",
        "tools/pytest.py",
    }


def test_summary(engine: FakeEngine) -> None:
    results = [
        ShardResult("click-1", "3.12", report(engine, 10, 1)),
        ShardResult("click-1", "3.12", report(engine, 5, 0)),
        ShardResult("click-1", "3.13", report(engine, 15, 2)),
    ]
    lines = pipeline.summary(results=results)
    assert [(line.version, line.tests, line.skipped) for line in lines] == [
        ("3.12", 15, 1),
        ("3.13", 15, 2),
    ]


def test_everything_that_is_downloaded_is_pinned() -> None:
    folder = Path(__file__).parent
    for name in ("sdists.lock", "requirements.lock"):
        for requirement in (folder / name).read_text().replace("\\\n", "").splitlines():
            pinned = "==" in requirement and "--hash=sha256:" in requirement
            assert pinned or requirement.lstrip().startswith("#"), requirement


def test_the_pipeline_is_valid() -> None:
    stages = plan(Path(__file__).parent / "pipeline.py")["stages"]
    fanned_out = [
        stage["name"] for stage in stages if any("each" in i["from"] for i in stage["inputs"])
    ]
    assert fanned_out == ["build", "test"]
