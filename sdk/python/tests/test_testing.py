"""The test kit, and with it the operations, in async code and in threads."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from towpath import Directory, File, OperationError, Pending, StepError, TestReport, UsageError, log, run, stage, tool
from towpath.testing import FakeEngine, Result

JUNIT = """<testsuites><testsuite>
<testcase name="a" time="0.5"/><testcase name="b" time="1"><failure/></testcase>
<testcase name="c"><skipped/></testcase><testcase name="d"><error/></testcase>
</testsuite></testsuites>"""


@stage
async def check(src: Directory) -> TestReport:
    result = await run("pytest", "-q", tree={"": src}, cwd="a", env={"K": "v"}, outputs=["report.xml"], ok=[0, 1])
    log(f"exit code {result.exit_code}", "debug", code=result.exit_code)
    return await TestReport.from_junit(result.file("report.xml"))


@stage
def check_in_thread(src: Directory) -> TestReport:
    result = run("pytest", tree=src, outputs=["report.xml"], ok="any").wait()
    return TestReport.from_junit(result.file("report.xml")).wait()


def test_an_async_stage() -> None:
    with FakeEngine() as engine:
        engine.on_run("pytest").returns(exit_code=1, outputs={"report.xml": JUNIT, "other": b""})
        src = engine.directory({"a/b.py": "x = 1"})
        report = asyncio.run(check(src))
    assert (report.tests, report.failures, report.errors, report.skipped, report.time_ms) == (4, 1, 1, 1, 1500)
    assert engine.content_of(report.junit) == JUNIT.encode()
    (step,) = engine.steps
    assert (step.args, step.cwd, step.env, step.outputs, step.ok) == (("pytest", "-q"), "a", {"K": "v"}, ("report.xml",), [0, 1])
    assert engine.files_of(step.tree) == {"a/b.py": b"x = 1"}
    assert engine.logs[0].message == "exit code 1"
    assert engine.logs[0].level == "debug"
    assert engine.logs[0].fields == {"code": 1}


def test_a_synchronous_stage() -> None:
    with FakeEngine() as engine:
        engine.on_run("pytest").returns(exit_code=9, outputs={"report.xml": JUNIT})
        assert check_in_thread(engine.directory({})).tests == 4


def test_what_a_step_asks_for_besides() -> None:
    with FakeEngine() as engine:
        engine.on_run("true")
        image = engine.directory({"bin/sh": ""})
        run("true", network=True, root=image, cpus=1, memory="2GB", pids=7, output=4096).wait()
        run("true").wait()
    much, nothing = engine.steps
    assert (much.network, much.root, much.cpus, much.memory, much.pids, much.output) == (True, image, 1.0, 2_000_000_000, 7, 4096)
    assert (nothing.network, nothing.root, nothing.cpus, nothing.memory, nothing.pids, nothing.output) == (False,) + (None,) * 5


def test_the_rule_with_the_most_arguments_counts() -> None:
    with FakeEngine() as engine:
        engine.on_run("git", "status").returns(stdout="first")
        engine.on_run("git", "status").returns(stdout="latest")
        engine.on_run("git").returns(stdout="any")
        assert run("git", "status", "-s").wait().stdout.text().wait() == "latest"


def test_rules() -> None:
    with FakeEngine() as engine:
        engine.on_run("git").returns(stdout="any")
        engine.on_run("git", "status").returns(stdout=b"status", stderr="e", cached=True)
        engine.on_run("git", "push").raises(OperationError("no", code="not_found"))
        engine.on_run("git", "pull").returns(exit_code=2)
        assert run("git", "log").wait().stdout.text().wait() == "any"
        result = run("git", "status", "-s").wait()
        assert result.cached
        assert (result.stdout.text().wait(), result.stderr.content().wait()) == ("status", b"e")
        with pytest.raises(OperationError):
            run("git", "push").wait()
        with pytest.raises(StepError) as caught:
            run("git", "pull").wait()
        assert (caught.value.exit_code, caught.value.command) == (2, ("git", "pull"))
        with pytest.raises(UsageError, match="no step 'hg log' was scripted"):
            run("hg", "log").wait()
        with pytest.raises(StepError, match="has not made the output 'x'"):
            run("git", outputs=["x"]).wait()


def test_outputs() -> None:
    with FakeEngine() as engine:
        engine.on_run("make").returns(outputs={"dist/a.whl": b"1", "dist/b.txt": b"2", "docs/x/y": b"3", "z": b""})
        result = run("make", outputs=["dist/*.whl", "docs"]).wait()
        assert [entry.path for entry in result.outputs] == ["dist/a.whl", "docs"]
        assert engine.files_of(result.tree) == {"dist/a.whl": b"1", "docs/x/y": b"3"}
        assert engine.files_of(result.directory("docs")) == {"x/y": b"3"}
        assert [file.name for file in result.files("**/*.whl")] == ["a.whl"]


def test_files(tmp_path: Path) -> None:
    content = bytes(range(256)) * 10_000
    source = tmp_path / "in"
    source.write_bytes(content)
    source.chmod(0o755)
    with FakeEngine() as engine:
        file = File.from_path(source).wait()
        assert (file.name, file.executable, file.size) == ("in", True, len(content))
        assert file.content().wait() == content
        assert file.read(10, 20).wait() == content[10:30]
        assert file.read(len(content) - 1, 20).wait() == content[-1:]
        assert file.read(0, 0).wait() == b""
        assert file.read(1, 1 << 21).wait() == content[1 : 1 + (1 << 21)]
        assert b"".join(file.chunks()) == content
        with pytest.raises(ValueError, match="negative"):
            file.read(-1, 1)
        file.download(tmp_path / "out").wait()
        assert (tmp_path / "out").read_bytes() == content
        assert (tmp_path / "out").stat().st_mode & 0o111 == 0o111
        assert File.from_bytes("e", b"").wait() == engine.file("e")
        assert File.from_text("t", "é", executable=True).wait() == engine.file("t", "é", executable=True)
        with pytest.raises(FileNotFoundError):
            File.from_path(tmp_path / "nowhere")
        with pytest.raises(UnicodeDecodeError):
            file.text().wait()

        async def chunks() -> list[int]:
            return [len(chunk) async for chunk in file.chunks()]

        assert asyncio.run(chunks()) == [1 << 20, 1 << 20, len(content) - (2 << 20)]


def test_directories() -> None:
    with FakeEngine() as engine:
        tree = engine.directory({"a/b/c.py": "c", "a/d.txt": "d", "e": "e"})
        assert [(entry.path, entry.kind) for entry in tree.entries().wait()] == [("a", "directory"), ("e", "file")]
        assert [entry.path for entry in tree.entries(recursive=True).wait()] == ["a", "a/b", "a/b/c.py", "a/d.txt", "e"]
        assert [entry.path for entry in tree.entries("a").wait()] == ["b", "d.txt"]
        assert tree.file("a/d.txt").wait().text().wait() == "d"
        below = tree.directory("a").wait()
        assert engine.files_of(below) == {"b/c.py": b"c", "d.txt": b"d"}
        assert engine.files_of(tree.filter("**/*.py", "e", "!a/b").wait()) == {"e": b"e"}
        made = Directory.of({"": below, "x/y": tree.file("e").wait()}).wait()
        assert engine.files_of(made) == {"b/c.py": b"c", "d.txt": b"d", "x/y": b"e"}
        for operation in (lambda: tree.file("a"), lambda: tree.directory("e"), lambda: tree.file("no"), lambda: tree.entries("e")):
            with pytest.raises(OperationError) as caught:
                operation().wait()
            assert caught.value.code == "not_found"
        for content in ({"../a": below}, {"e": engine.file("1", "1"), "e/f": engine.file("2", "2")}):
            with pytest.raises(OperationError):
                Directory.of(content).wait()
        with pytest.raises(TypeError, match="a directory is made of"):
            Directory.of({"a": "b"})  # type: ignore[dict-item]


def test_digests_are_those_of_the_engine() -> None:
    engine = FakeEngine()
    assert engine.directory({}).digest == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855/0"
    # printf '\x0a\x49\x0a\x01a\x12\x44\x0a\x40%s' $(printf '' | sha256sum), which protoc --decode shows to be a Directory
    message = b"\x0a\x47\x0a\x01a\x12\x42\x0a\x40" + b"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    assert engine.directory({"a": ""}) == Directory(engine.file("m", message).digest)


def test_tools() -> None:
    with FakeEngine() as engine:
        engine.on_tool("git", "/usr/bin/git")
        assert tool("git").wait() == "/usr/bin/git"
        assert tool("/opt/bin/hg").wait() == "/opt/bin/hg"
        with pytest.raises(OperationError, match="there is no tool 'hg'"):
            tool("hg").wait()


def test_an_operation_that_is_never_awaited() -> None:
    engine = FakeEngine()
    engine.on_run("true").returns()
    with pytest.raises(UsageError, match=r"never awaited: run\('true'\) at .*test_testing.py:\d+"), engine:
        run("true")
    with pytest.raises(ZeroDivisionError), engine:
        _fail_after(run("true"))


def _fail_after(_pending: object) -> None:
    raise ZeroDivisionError


async def _twice(pending: Pending[str]) -> list[str]:
    return [await pending, await pending]


def test_a_result_may_be_asked_for_twice() -> None:
    with FakeEngine() as engine:
        file = engine.file("a", "text")
        assert asyncio.run(_twice(file.text())) == ["text", "text"]
        text = file.text()
        assert text.wait() == text.wait() == "text"
        assert "finished" in repr(text)


def test_asyncio_takes_operations_as_coroutines() -> None:
    async def use(file: File) -> list[str]:
        async with asyncio.TaskGroup() as group:
            first = group.create_task(file.text())
        second = await asyncio.wait_for(file.text(), 10)
        (third,) = await asyncio.gather(file.text())
        return [first.result(), second, third]

    with FakeEngine() as engine:
        assert asyncio.run(use(engine.file("a", "text"))) == ["text"] * 3


def test_waiting_on_an_event_loop() -> None:
    async def wrong(file: File) -> str:
        pending = file.text()
        with pytest.raises(UsageError, match="event loop"):
            pending.wait()
        return await pending

    async def threads(file: File) -> str:
        return await asyncio.to_thread(lambda: file.text().wait())

    with FakeEngine() as engine:
        file = engine.file("a", "text")
        assert asyncio.run(wrong(file)) == "text"
        assert asyncio.run(threads(file)) == "text"


@pytest.mark.parametrize(
    ("args", "options", "error"),
    [
        ((), {}, ValueError),
        (("a", 1), {}, TypeError),
        (("a",), {"env": {"A": 1}}, TypeError),
        (("a",), {"outputs": "x"}, TypeError),
        (("a",), {"tree": {"a": "b"}}, TypeError),
        (("a" * (1 << 20) + "b",), {}, OperationError),
    ],
)
def test_arguments_of_run(args: tuple[Any, ...], options: dict[str, Any], error: type[Exception]) -> None:
    with FakeEngine(), pytest.raises(error):
        run(*args, **options)


def test_a_function_decides_what_a_step_does() -> None:
    with FakeEngine() as engine:
        engine.on_run("cc").does(lambda step: Result(outputs={"out": step.args[1]}))
        done = run("cc", "a.c", outputs=["out"]).wait()
        assert engine.content_of(done.file("out")) == b"a.c"
        engine.on_run("cc").does(lambda _step: Result(exit_code=2))
        with pytest.raises(StepError):
            run("cc").wait()
