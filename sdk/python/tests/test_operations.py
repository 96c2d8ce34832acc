"""Operations of stages, never-awaited ones, and cancellation, as the engine sees them."""

from __future__ import annotations

from base64 import b64encode
from typing import Any

import pytest

from conftest import Start
from engine import CAPABILITIES, STEP, TREE
from towpath import File
from towpath.testing import FakeEngine

FILE = {"$file": {"digest": "a" * 64 + "/3", "executable": False, "name": "a.txt"}}

STAGES = """
    import asyncio
    @stage
    async def later(command: str) -> int:
        return (await run(command)).exit_code
    @stage
    def sooner(command: str) -> int:
        return run(command).wait().exit_code
    @stage
    def echo(text: str) -> str:
        return text
"""


# Operations


def test_a_step_and_its_arguments(start: Start) -> None:
    engine = start("""
        @stage
        async def steps(src: Directory, file: File) -> list[str]:
            result = await run("sh", "-c", "true", tree={"": src, "a/b": file}, cwd="a", env={"K": "v"}, outputs=["o/*"], ok=[0, 3])
            assert result.exit_code == 3 and result.cached and result.file("o/x") == file and result.directory("d") == src
            assert await run("a", tree=src, ok="any")
            return [found.name for found in result.files("o/*")]
    """)
    ident = engine.call("steps", src=TREE, file=FILE)
    step = engine.asked("step.run")
    assert step["params"] == {
        "call": ident,
        "args": ["sh", "-c", "true"],
        "tree": [{"path": "", "value": TREE}, {"path": "a/b", "value": FILE}],
        "cwd": "a",
        "env": {"K": "v"},
        "outputs": ["o/*"],
        "ok": [0, 3],
    }
    entries = [
        {"path": "d", "kind": "directory", "value": TREE},
        {"path": "o/link", "kind": "symlink", "target": "x"},
        {"path": "o/x", "kind": "file", "value": FILE},
    ]
    engine.reply(step, {**STEP, "exit_code": 3, "cached": True, "outputs": entries})
    step = engine.asked("step.run")
    assert step["params"]["ok"] == "any"
    assert step["params"]["tree"] == [{"path": "", "value": TREE}]
    engine.reply(step, STEP)
    assert engine.answer_to(ident)["result"]["value"] == ["a.txt"]


def test_what_a_step_asks_for_besides(start: Start) -> None:
    engine = start("""
        @stage
        async def steps(image: Directory) -> None:
            await run("a", network=True, root=image, cpus=2, memory="512MiB", pids=3, output=10)
    """)
    engine.call("steps", image=TREE)
    params = engine.asked("step.run")["params"]
    assert (params["network"], params["root"]) == (True, TREE)
    assert params["limits"] == {"cpus": 2.0, "memory": 512 << 20, "output": 10, "pids": 3}
    assert isinstance(params["limits"]["cpus"], float)


@pytest.mark.parametrize(
    ("feature", "option"), [("network", "network=True"), ("root", "root=image"), ("limits", "pids=1")], ids=["network", "root", "limits"]
)
def test_a_feature_that_the_engine_lacks(start: Start, feature: str, option: str) -> None:
    engine = start(
        f"""
        @stage
        async def steps(image: Directory) -> None:
            await run("a", {option})
        """,
        hello=False,
        load=False,
    )
    engine.hello(tuple(name for name in CAPABILITIES if name != f"step.run:{feature}"))
    engine.result("load", engine.program())
    error = engine.answer_to(engine.call("steps", image=TREE))["error"]
    assert error["code"] == "unsupported"
    assert f"step.run:{feature}" in error["message"]


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("network=1", "network takes a bool"),
        ("root='/'", "root takes a Directory"),
        ("cpus=0", "cpus is a number of processors"),
        ("cpus=float('nan')", "cpus is a number of processors"),
        ("cpus=10**400", "cpus is a number of processors"),
        ("cpus='2'", "cpus takes a number"),
        ("memory='2 GB'", "memory='2 GB' is no size"),
        ("memory=1.5", "memory takes an int or a str"),
        ("memory=True", "memory takes an int or a str"),
        ("pids=0", "pids is from 1"),
        ("pids='3'", "pids takes an int"),
        ("output=-1", "output is from 1"),
        ("output='0B'", "output is from 1"),
    ],
)
def test_a_wrong_option_is_an_error_at_the_call(start: Start, option: str, message: str) -> None:
    engine = start(f"""
        @stage
        async def steps() -> None:
            await run("a", {option})
    """)
    error = engine.answer_to(engine.call("steps"))["error"]
    assert message in error["message"]
    assert (error["site"]["file"], error["code"]) == ("pipeline.py", "failed")


@pytest.mark.parametrize("name", ["later", "sooner"])
def test_a_step_that_fails_fails_the_stage(start: Start, name: str) -> None:
    engine = start(STAGES)
    ident = engine.call(name, command="pytest")
    engine.refuse(
        engine.asked("step.run"), code="step_failed", message="exit code 2", hint="look", step={"exit_code": 2, "args": ["pytest"]}
    )
    error = engine.answer_to(ident)["error"]
    assert error["code"] == "step_failed"
    assert error["message"] == "exit code 2"
    assert error["hint"] == "look"
    assert error["step"] == {"exit_code": 2, "args": ["pytest"]}
    assert error["site"]["file"] == "pipeline.py"


def test_a_step_that_fails_in_a_task_group(start: Start) -> None:
    engine = start("""
        import asyncio
        @stage
        async def both() -> None:
            async with asyncio.TaskGroup() as group:
                group.create_task(run("a"))
                group.create_task(run("b"))
    """)
    ident = engine.call("both")
    steps = [engine.asked("step.run"), engine.asked("step.run")]
    engine.refuse(steps[0], code="step_failed", message="no", step={"exit_code": 2, "args": ["a"]})
    assert engine.asked("cancel")["params"] == {"id": steps[1]["id"]}
    assert engine.answer_to(ident)["error"]["code"] == "step_failed"


def test_an_error_of_an_operation_can_be_handled(start: Start) -> None:
    engine = start("""
        @stage
        async def handles() -> list[str]:
            try:
                await run("a", ok=[0])
            except StepError as error:
                first = f"{error.exit_code} {error.command}"
            try:
                await tool("nothing")
            except OperationError as error:
                return [first, error.code, str(error)]
            return []
    """)
    ident = engine.call("handles")
    engine.refuse(engine.asked("step.run"), code="step_failed", message="no", step={"exit_code": 2, "args": ["a"]})
    engine.refuse(engine.asked("tool.find"), code="not_found", message="no such tool", hint="install it")
    assert engine.answer_to(ident)["result"]["value"] == ["2 ('a',)", "not_found", "no such tool (hint: install it)"]


@pytest.mark.parametrize("code", ["not_found", "invalid", "too_large", "internal", "unsupported"])
def test_an_error_of_an_operation_that_is_not_handled_keeps_its_code(start: Start, code: str) -> None:
    engine = start(STAGES)
    ident = engine.call("later", command="a")
    engine.refuse(engine.asked("step.run"), code=code, message="text", hint="hint")
    error = engine.answer_to(ident)["error"]
    assert (error["code"], error["message"], error["hint"]) == (code, "text", "hint")


def test_a_capability_that_the_engine_lacks(start: Start) -> None:
    engine = start(STAGES, hello=False)
    engine.hello(tuple(name for name in CAPABILITIES if name != "step.run"))
    engine.result("load", engine.program())
    error = engine.answer_to(engine.call("later", command="a"))["error"]
    assert error["code"] == "unsupported"
    assert "step.run" in error["message"]


def test_limits_of_a_step(start: Start) -> None:
    engine = start("""
        @stage
        async def large() -> None:
            await run("a", "x" * (1 << 20))
        @stage
        async def surrogate() -> None:
            await run("\\ud800")
    """)
    assert engine.answer_to(engine.call("large"))["error"]["code"] == "too_large"
    error = engine.answer_to(engine.call("surrogate"))["error"]
    assert error["code"] == "invalid"
    assert "lone surrogate" in error["message"]


def test_limit_of_open_requests(start: Start) -> None:
    engine = start("""
        @stage
        def many() -> str:
            pending = [run("a") for _ in range(10_000)]
            try:
                run("b")
            except OperationError as error:
                log(error.code)
            for one in pending:
                one.wait()
            return "done"
    """)
    ident = engine.call("many")
    assert engine.asked("log")["params"]["message"] == "too_large"
    for step in [engine.asked("step.run") for _ in range(10_000)]:
        engine.reply(step, STEP)
    assert engine.answer_to(ident)["result"]["value"] == "done"


def test_files_go_in_pieces(start: Start, tmp_path: Any) -> None:
    engine = start("""
        @stage
        def upload(path: str) -> File: return File.from_path(path, "b.bin").wait()
        @stage
        async def download(file: File, path: str) -> list[int]:
            await file.download(path)
            return [len(chunk) async for chunk in file.chunks()]
    """)
    content = bytes(range(256)) * 5000
    source = tmp_path / "source.bin"
    source.write_bytes(content)
    source.chmod(0o755)
    ident = engine.call("upload", path=str(source))
    engine.reply(engine.asked("blob.begin"), {"blob": 9})
    for start_ in (0, 1 << 20):
        append = engine.asked("blob.append")
        assert append["params"] == {"call": ident, "blob": 9, "data": b64encode(content[start_ : start_ + (1 << 20)]).decode()}
        engine.reply(append, {})
    commit = engine.asked("blob.commit")
    assert commit["params"] == {"call": ident, "blob": 9, "name": "b.bin", "executable": True}
    engine.reply(commit, {"value": FILE})
    answer = engine.answer_to(ident)["result"]
    assert answer["value"] == FILE
    assert [file["path"] for file in answer["files"] if "digest" in file] == [str(source)]

    target = tmp_path / "target.bin"
    size = {"$file": {"digest": f"{'a' * 64}/{len(content)}", "executable": True, "name": "b.bin"}}
    ident = engine.call("download", file=size, path=str(target))
    for _ in range(2):
        for start_ in (0, 1 << 20):
            read = engine.asked("file.read")
            assert read["params"] == {"call": ident, "file": size, "offset": start_, "length": 1 << 20}
            data = content[start_ : start_ + (1 << 20)]
            engine.reply(read, {"data": b64encode(data).decode(), "eof": start_ > 0})
    assert engine.answer_to(ident)["result"]["value"] == [1 << 20, len(content) - (1 << 20)]
    assert target.read_bytes() == content
    assert target.stat().st_mode & 0o111


def test_listings_are_paged(start: Start) -> None:
    engine = start("""
        @stage
        async def lists(tree: Directory) -> list[str]:
            return [entry.path for entry in await tree.entries("sub", recursive=True)]
    """)
    ident = engine.call("lists", tree=TREE)
    first = engine.asked("directory.list")
    assert first["params"] == {"call": ident, "directory": TREE, "path": "sub", "recursive": True, "after": ""}
    engine.reply(first, {"entries": [{"path": "a", "kind": "file", "value": FILE}], "more": True})
    second = engine.asked("directory.list")
    assert second["params"]["after"] == "a"
    engine.reply(second, {"entries": [{"path": "b", "kind": "directory", "value": TREE}], "more": False})
    assert engine.answer_to(ident)["result"]["value"] == ["a", "b"]


def test_the_other_operations(start: Start) -> None:
    engine = start("""
        @stage
        def all(tree: Directory, file: File) -> TestReport:
            assert tree.file("a").wait() == file
            assert tree.directory("b").wait() == tree
            assert tree.filter("*.py", "!x").wait() == tree
            assert Directory.of({"": tree, "a": file}).wait() == tree
            assert tool("git").wait() == "/usr/bin/git"
            log("text", "warning", size=1, deep={"a": [None]})
            return TestReport.from_junit(file).wait()
    """)
    ident = engine.call("all", tree=TREE, file=FILE)

    def expect(method: str, result: dict[str, Any] | None, **params: Any) -> None:
        request = engine.asked(method)
        assert request["params"] == {"call": ident, **params}
        if result is not None:
            engine.reply(request, result)

    expect("directory.get", {"entry": {"path": "a", "kind": "file", "value": FILE}}, directory=TREE, path="a")
    expect("directory.get", {"entry": {"path": "b", "kind": "directory", "value": TREE}}, directory=TREE, path="b")
    expect("directory.filter", {"value": TREE}, directory=TREE, globs=["*.py", "!x"])
    expect("directory.make", {"value": TREE}, mounts=[{"path": "", "value": TREE}, {"path": "a", "value": FILE}])
    expect("tool.find", {"path": "/usr/bin/git"}, name="git")
    expect("log", None, level="warning", message="text", fields={"size": 1, "deep": {"a": [None]}})
    report = {"$test_report": {"errors": 0, "failures": 0, "junit": FILE, "skipped": 0, "tests": 7, "time_ms": 1}}
    expect("report.parse", {"value": report}, junit=FILE)
    assert engine.answer_to(ident)["result"]["value"] == report


def test_numbers_that_json_has_not_are_logged_as_text(start: Start) -> None:
    engine = start("""
        @stage
        def logs() -> None:
            log("m", n=float("nan"), deep={"a": [float("-inf"), 1.5, True]}, big=1 << 64, fine=7)
    """)
    ident = engine.call("logs")
    fields = engine.asked("log")["params"]["fields"]
    assert fields == {"n": "nan", "deep": {"a": ["-inf", 1.5, True]}, "big": "18446744073709551616", "fine": 7}
    assert engine.answer_to(ident)["result"]["value"] is None


@pytest.mark.parametrize(("name", "fits"), [("x" * 255, True), ("x" * 256, False), ("é" * 128, False)])
def test_long_file_names_are_refused(name: str, fits: bool) -> None:
    with FakeEngine():
        if fits:
            assert File.from_text(name, "a").wait().name == name
        else:
            with pytest.raises(ValueError, match="at most 255 bytes"):
                File.from_text(name, "a")


def test_texts_and_fields_are_cut(start: Start) -> None:
    """No message, hint, trace or set of fields takes more than 64 KiB."""
    engine = start("""
        @stage
        def logs() -> None:
            log("é" * 65536, fits="x" * 65525)
            log("m", "info", one="x" * 65536, two=2)
            try:
                log("m", bad=b"")
            except OperationError as error:
                raise OperationError("m" * 70000, code=error.code, hint="h" * 70000)
    """)
    ident = engine.call("logs")
    first, second = engine.asked("log")["params"], engine.asked("log")["params"]
    assert (first["message"], first["fields"]) == ("é" * 32768, {"fits": "x" * 65525})
    assert second["fields"] == {"fields_cut": 65554}
    error = engine.answer_to(ident)["error"]
    assert error["code"] == "invalid"
    assert [len(error[name]) <= 65536 for name in ("message", "hint", "trace")] == [True] * 3


def test_a_malformed_answer_of_the_engine_is_an_internal_error(start: Start) -> None:
    engine = start(STAGES)
    ident = engine.call("later", command="a")
    engine.reply(engine.asked("step.run"), {"exit_code": 0})
    assert engine.answer_to(ident)["error"]["code"] == "internal"


# Silence is no success


def test_an_operation_that_is_never_awaited(start: Start) -> None:
    engine = start("""
        @stage
        async def forgets() -> int:
            run("pytest", "-q")
            return 1
        @stage
        def forgets_too() -> int:
            run("pytest")
            tool("git")
            return 1
        @stage
        async def abandons() -> int:
            import asyncio
            async def helper() -> None:
                await run("a")
            task = asyncio.create_task(helper())
            await asyncio.sleep(0)
            return 1
    """)
    error = engine.answer_to(engine.call("forgets"))["error"]
    assert error["code"] == "failed"
    assert error["message"] == "run('pytest', '-q') at pipeline.py:5 was never awaited"
    assert error["site"] == {"file": "pipeline.py", "line": 5}
    assert engine.asked("cancel")["params"] == {"id": engine.asked("step.run")["id"]}
    error = engine.answer_to(engine.call("forgets_too"))["error"]
    assert error["message"] == "run('pytest') at pipeline.py:9 was never awaited; tool('git') at pipeline.py:10 was never awaited"
    assert ".wait()" in error["hint"]
    error = engine.answer_to(engine.call("abandons"))["error"]
    assert error["message"] == "run('a') at pipeline.py:16 was not finished"


def test_a_coroutine_that_is_never_awaited_is_no_result(start: Start) -> None:
    engine = start("""
        import warnings
        warnings.simplefilter("ignore")
        async def helper() -> int: return 1
        @stage
        def forgets() -> int: return helper()
    """)
    assert "should be int, got coroutine" in engine.answer_to(engine.call("forgets"))["error"]["message"]


def test_waiting_on_the_event_loop_is_refused(start: Start) -> None:
    engine = start("""
        @stage
        async def waits() -> None:
            run("a").wait()
    """)
    error = engine.answer_to(engine.call("waits"))["error"]
    assert "event loop" in error["message"]
    assert error["hint"] == "use `await` in async code"


def test_waiting_while_another_thread_imports_asyncio(start: Start) -> None:
    """A module that is being imported is in `sys.modules` already, and not to be used."""
    engine = start("""
        import sys, threading, time
        importing = threading.Event()
        class Slow:
            def find_spec(self, name, path=None, target=None):
                if name == "asyncio.base_events":
                    importing.set()
                    time.sleep(0.3)
        sys.meta_path.insert(0, Slow())
        @stage
        async def imports() -> None: ...
        @stage
        def waits() -> str:
            assert importing.wait(10)
            return tool("git").wait()
    """)
    waiting = engine.call("waits")
    importing = engine.call("imports")
    engine.reply(engine.asked("tool.find"), {"path": "/usr/bin/git"})
    assert engine.answer_to(waiting)["result"]["value"] == "/usr/bin/git"
    assert "result" in engine.answer_to(importing)


def test_operations_after_the_end_of_a_call_are_refused(start: Start) -> None:
    engine = start("""
        import threading, contextvars
        go, texts = threading.Event(), []
        def late() -> None:
            go.wait()
            try:
                run("late")
            except UsageError as error:
                texts.append(str(error))
        @stage
        def leaves() -> None:
            global thread
            thread = threading.Thread(target=contextvars.copy_context().run, args=(late,))
            thread.start()
        @stage
        def looks() -> list[str]:
            go.set()
            thread.join()
            return texts
    """)
    engine.answer_to(engine.call("leaves"))
    (text,) = engine.answer_to(engine.call("looks"))["result"]["value"]
    assert "after stage 'leaves' had ended" in text


# Cancellation


def test_cancelling_an_async_stage(start: Start) -> None:
    engine = start("""
        import asyncio
        @stage
        async def cleans() -> None:
            try:
                await run("forever")
            except asyncio.CancelledError:
                await run("clean")
                raise
    """)
    ident = engine.call("cleans")
    step = engine.asked("step.run")
    engine.send({"method": "cancel", "params": {"id": ident}})
    assert engine.asked("cancel")["params"] == {"id": step["id"]}
    assert engine.answer_to(ident)["error"]["code"] == "cancelled"
    engine.refuse(step, code="cancelled", message="cancelled")
    assert engine.result("ping", {}) == {}


def test_cancelling_a_synchronous_stage(start: Start) -> None:
    engine = start("""
        seen = []
        @stage
        def stubborn() -> None:
            try:
                run("forever").wait()
            except Exception:
                seen.append("swallowed")
            except BaseException as error:
                seen.append(type(error).__name__)
                try:
                    run("more").wait()
                except Cancelled:
                    seen.append("again")
                raise
        @stage
        def looks() -> list[str]: return seen
    """)
    ident = engine.call("stubborn")
    step = engine.asked("step.run")
    engine.send({"method": "cancel", "params": {"id": ident}})
    assert engine.answer_to(ident)["error"]["code"] == "cancelled"
    engine.reply(step, STEP)
    assert engine.answer_to(engine.call("looks"))["result"]["value"] == ["Cancelled", "again"]


@pytest.mark.parametrize("name", ["later", "sooner"])
def test_a_cancellation_that_comes_at_once(start: Start, name: str) -> None:
    engine = start(STAGES)
    for _ in range(50):
        ident = engine.call(name, command="forever")
        engine.send({"method": "cancel", "params": {"id": ident}})
        assert engine.answer_to(ident)["error"]["code"] == "cancelled"


def test_a_cancellation_that_crosses_the_answer_is_ignored(start: Start) -> None:
    engine = start(STAGES)
    ident = engine.call("echo", text="a")
    assert engine.answer_to(ident)["result"]["value"] == "a"
    engine.send({"method": "cancel", "params": {"id": ident}})
    assert engine.result("ping", {}) == {}


@pytest.mark.parametrize("name", ["later", "sooner"])
def test_a_step_that_the_engine_cancels(start: Start, name: str) -> None:
    engine = start(STAGES)
    ident = engine.call(name, command="a")
    engine.refuse(engine.asked("step.run"), code="cancelled", message="the run ends")
    assert engine.answer_to(ident)["error"]["code"] == "cancelled"


def test_a_cancelled_step_in_a_task_group_is_no_success(start: Start) -> None:
    engine = start("""
        import asyncio
        @stage
        async def group() -> int:
            async with asyncio.TaskGroup() as group:
                group.create_task(run("a"))
            return 1
    """)
    ident = engine.call("group")
    engine.refuse(engine.asked("step.run"), code="cancelled", message="the run ends")
    assert engine.answer_to(ident)["error"]["code"] == "cancelled"


def test_a_stage_that_gives_up_a_step_cancels_it(start: Start) -> None:
    engine = start("""
        import asyncio
        @stage
        async def impatient() -> str:
            try:
                await asyncio.wait_for(run("forever"), 0.001)
            except TimeoutError:
                return await tool("gave up")
            return "?"
    """)
    ident = engine.call("impatient")
    step = engine.asked("step.run")
    assert engine.asked("cancel")["params"] == {"id": step["id"]}
    engine.reply(engine.asked("tool.find"), {"path": "gave up"})
    assert engine.answer_to(ident)["result"]["value"] == "gave up"


def test_a_second_cancellation_does_not_interrupt_the_cleaning_up(start: Start) -> None:
    engine = start("""
        import asyncio
        cleaned = []
        @stage
        async def cleans() -> None:
            try:
                await run("forever")
            finally:
                log("cleaning")
                await asyncio.to_thread(go.wait)
                cleaned.append("yes")
        import threading
        go = threading.Event()
        @stage
        def looks() -> list[str]:
            return cleaned
        @stage
        def release() -> None:
            go.set()
    """)
    ident = engine.call("cleans")
    engine.asked("step.run")
    engine.send({"method": "cancel", "params": {"id": ident}})
    engine.asked("log")
    engine.send({"method": "cancel", "params": {"id": ident}})
    engine.answer_to(engine.call("release"))
    assert engine.answer_to(ident)["error"]["code"] == "cancelled"
    assert engine.answer_to(engine.call("looks"))["result"]["value"] == ["yes"]
