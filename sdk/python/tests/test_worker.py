"""The worker, as the engine sees it."""

from __future__ import annotations

import os
import signal
from base64 import b64encode
from typing import Any

import pytest

from conftest import Start
from engine import CAPABILITIES, STEP, TREE, Engine

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
    STAGE = echo
"""


# Handshake


def test_hello(start: Start) -> None:
    engine = start(hello=False)
    answer = engine.hello()
    assert answer["protocol"] == 1
    assert answer["sdk"]["language"] == "python"
    assert answer["sdk"]["runtime"].startswith("cpython 3.")
    assert {"describe", "load", "stage.call", "ping", "cancel"} == set(answer["capabilities"])


def test_versions_that_do_not_meet(start: Start) -> None:
    engine = start(hello=False)
    error = engine.error("hello", {"protocol": {"min": 2, "max": 5}, "engine": {}, "capabilities": []})
    assert error["code"] == "unsupported"
    assert "2 to 5" in error["message"]
    assert "1 to 1" in error["message"]


def test_unknown_members_are_ignored(start: Start) -> None:
    engine = start(hello=False)
    params = {"protocol": {"min": 1, "max": 9, "x": 1}, "engine": {"name": "tow", "version": "9"}, "capabilities": ["a"], "later": {}}
    assert engine.result("hello", params)["protocol"] == 1
    assert engine.result("ping", {"later": 1}) == {}


def test_an_unknown_request_is_answered(start: Start) -> None:
    assert start("").error("stage.guess", {})["code"] == "unsupported"


def test_the_environment_is_clean(start: Start) -> None:
    engine = start("""
        import os, sys
        @stage
        def seen() -> list[str]:
            return [str(os.environ.get("TOWPATH_FDS")), __name__, sys.path[0], str("asyncio" in sys.modules)]
        @stage
        def inheritable() -> list[int]:
            found = []
            for name in os.listdir("/proc/self/fd"):
                try:
                    if int(name) > 2 and os.get_inheritable(int(name)):
                        found.append(int(name))
                except OSError:
                    pass
            return found
    """)
    assert engine.answer_to(engine.call("seen"))["result"]["value"] == ["None", "pipeline", str(engine.folder), "False"]
    assert engine.answer_to(engine.call("inheritable"))["result"]["value"] == []


# Violations: the worker stops using the connection


@pytest.mark.parametrize(
    "data",
    [
        b"\0\0\0\0",
        b"\x7f\0\0\0{}",
        b"\0\0\0\x02[]",
        b"\0\0\0\x02{}",
        b"\0\0\0\x03\xff\xfe\xfd",
        b'\0\0\0\x0f{"id":1,"id":2}',
        b'\0\0\0\x12{"id":7,"result":1}',
        b'\0\0\0\x13{"id":7,"result":{}}',
        b'\0\0\0\x1e{"id":0,"method":"ping"}      ',
        b'\0\0\0\x1d{"method":"what","params":{}}',
    ],
)
def test_malformed_frames(start: Start, data: bytes) -> None:
    engine = start("")
    engine.send_bytes(data)
    assert engine.exit_status() == 70
    assert engine.process.stderr is not None
    assert b"towpath: the engine broke the protocol" in engine.process.stderr.read()


def test_the_end_of_the_connection_inside_of_a_frame(start: Start) -> None:
    engine = start("")
    engine.send_bytes(b"\0\0\0\x10{")
    engine.hang_up()
    assert engine.exit_status() == 70


def test_a_request_before_hello(start: Start) -> None:
    engine = start(hello=False)
    engine.request("ping", {})
    assert engine.exit_status() == 70


def test_an_id_that_is_used_twice(start: Start) -> None:
    engine = start("")
    engine.send({"id": 1, "method": "ping", "params": {}})
    assert engine.exit_status() == 70


def test_a_second_answer(start: Start) -> None:
    engine = start(STAGES)
    engine.call("sooner", command="a")
    step = engine.asked("step.run")
    engine.reply(step, STEP)
    engine.reply(step, STEP)
    assert engine.exit_status() == 70


# The end


@pytest.mark.parametrize("name", ["later", "sooner"])
def test_the_death_of_the_engine_ends_the_worker(start: Start, name: str) -> None:
    engine = start(STAGES)
    engine.call(name, command="forever")
    engine.asked("step.run")
    engine.hang_up()
    assert engine.exit_status() == 0


def test_what_was_printed_is_flushed_at_the_end(start: Start) -> None:
    engine = start("""
        import sys
        @stage
        def prints() -> None:
            sys.stdout.write("half a line")
            run("forever").wait()
    """)
    engine.call("prints")
    engine.asked("step.run")
    engine.hang_up()
    assert engine.exit_status() == 0
    assert engine.process.stdout is not None
    assert engine.process.stdout.read() == b"half a line"


def test_a_forked_child_does_not_hold_the_connection(start: Start) -> None:
    engine = start("""
        import os, time
        @stage
        def forks() -> int:
            child = os.fork()
            if child == 0:
                os.close(1); os.close(2)
                time.sleep(60)
                os._exit(0)
            return child
    """)
    child = engine.answer_to(engine.call("forks"))["result"]["value"]
    try:
        os.kill(engine.process.pid, signal.SIGKILL)
        assert engine.exit_status() == -signal.SIGKILL
        assert os.read(engine.reading, 1) == b""
    finally:
        os.kill(child, signal.SIGKILL)


def test_an_interrupt_is_left_to_the_engine(start: Start) -> None:
    engine = start(STAGES)
    ident = engine.call("later", command="a")
    step = engine.asked("step.run")
    engine.process.send_signal(signal.SIGINT)
    engine.result("ping", {})
    engine.reply(step, STEP)
    assert engine.answer_to(ident)["result"]["value"] == 0


# Calls


def test_calls_run_at_the_same_time_and_are_answered_in_any_order(start: Start) -> None:
    engine = start(STAGES)
    calls = {engine.call(("later", "sooner")[index % 2], command=str(index)): index for index in range(20)}
    steps = [engine.asked("step.run") for _ in calls]
    for step in reversed(steps):
        engine.reply(step, {**STEP, "exit_code": int(step["params"]["args"][0])})
    for ident, index in calls.items():
        assert engine.answer_to(ident)["result"]["value"] == index
    assert {step["params"]["call"] for step in steps} == set(calls)


def test_ping_is_answered_while_functions_run_and_programs_load(start: Start, tmp_path: Any) -> None:
    engine = start("""
        import threading
        @stage
        async def blocks() -> None:
            threading.Event().wait()
    """)
    engine.call("blocks")
    assert engine.result("ping", {}) == {}
    fifo = tmp_path / "other" / "fifo"
    fifo.parent.mkdir()
    os.mkfifo(fifo)
    (fifo.parent / "pipeline.py").write_text(f"open({str(fifo)!r}).read()")
    other = Engine(fifo.parent)
    other.hello()
    described = other.request("describe", other.program())
    assert other.result("ping", {}) == {}
    fifo.write_text("")
    assert other.answer_to(described)["result"]["plan"]["stages"] == []
    other.close()


def test_stray_output_stays_out_of_the_protocol(start: Start) -> None:
    engine = start("""
        import os, sys
        print("while loading")
        @stage
        def prints() -> None:
            print("text")
            print("more", file=sys.stderr)
            os.write(1, b"raw\\n")
            sys.stdout.close()
    """)
    assert engine.answer_to(engine.call("prints"))["result"]["value"] is None
    engine.hang_up()
    stdout, stderr = engine.process.communicate()
    assert stdout == b"while loading\ntext\nraw\n"
    assert stderr == b"more\n"


def test_values_go_in_and_out(start: Start) -> None:
    engine = start("""
        from dataclasses import dataclass, replace
        @dataclass(frozen=True)
        class Part:
            file: File
            sizes: list[int]
            note: str | None
        @stage
        async def swap(parts: dict[str, list[Part]], tree: Directory, f: float, report: TestReport, token: Secret) -> list[Part]:
            assert isinstance(f, float) and report.junit.name == "a.txt" and token.name == "T"
            return [replace(part, sizes=[*part.sizes, report.tests], note=tree.digest[:1]) for part in parts["a"]]
    """)
    report = {"errors": 0, "failures": 0, "junit": FILE, "skipped": 0, "tests": 7, "time_ms": 1}
    ident = engine.call(
        "swap",
        parts={"a": [{"file": FILE, "sizes": [1], "note": None}]},
        tree=TREE,
        f=1.0,
        report={"$test_report": report},
        token={"$secret": {"name": "T"}},
    )
    assert engine.answer_to(ident)["result"]["value"] == [{"file": FILE, "sizes": [1, 7], "note": "e"}]


@pytest.mark.parametrize(
    ("params", "text"),
    [
        ({"stage": "nowhere", "function": "nowhere", "inputs": {}}, "no stage function 'nowhere'"),
        ({"stage": "echo", "function": "echo", "inputs": {}}, "missing inputs ['text']"),
        ({"stage": "echo", "function": "echo", "inputs": {"text": "", "x": 1}}, "unknown inputs ['x']"),
        ({"stage": "echo", "function": "echo", "inputs": {"text": 1}}, "input 'text' of stage 'echo' should be str, got int"),
        ({"stage": "echo"}, "stage.call needs"),
    ],
)
def test_calls_that_are_wrong(start: Start, params: dict[str, Any], text: str) -> None:
    engine = start(STAGES)
    error = engine.error("stage.call", params)
    assert error["code"] == "invalid"
    assert text in error["message"]


def test_a_call_before_a_program_is_loaded(start: Start) -> None:
    error = start(STAGES, load=False).error("stage.call", {"stage": "a", "function": "a", "inputs": {}})
    assert error == {"code": "invalid", "message": "no program has been loaded"}


# Failures


@pytest.mark.parametrize("kind", ["async def", "def"])
def test_an_exception(start: Start, kind: str) -> None:
    engine = start(f"""
        import json
        def inner() -> None:
            json.loads("no json")
        @stage
        {kind} fails() -> None:
            inner()
    """)
    error = engine.answer_to(engine.call("fails"))["error"]
    assert error["code"] == "failed"
    assert error["message"].startswith("JSONDecodeError: Expecting value")
    assert error["site"] == {"file": "pipeline.py", "line": 5}
    assert "in inner" in error["trace"]
    assert "towpath" not in error["trace"].replace(str(engine.folder), "")


@pytest.mark.parametrize("statement", ["raise SystemExit(3)", "raise KeyboardInterrupt", "raise GeneratorExit"])
@pytest.mark.parametrize("kind", ["async def", "def"])
def test_exceptions_that_are_none(start: Start, kind: str, statement: str) -> None:
    engine = start(f"""
        @stage
        {kind} fails() -> None:
            {statement}
        @stage
        async def works() -> int: return 1
    """)
    error = engine.answer_to(engine.call("fails"))["error"]
    assert error["code"] == "failed"
    assert error["site"]["line"] == 5
    assert engine.answer_to(engine.call("works"))["result"]["value"] == 1


@pytest.mark.parametrize(
    ("annotation", "value", "text"),
    [
        ("File", "'x'", "the result of stage 'wrong' should be File, got str"),
        ("int", "True", "should be int, got bool"),
        ("None", "1", "should be None, got int"),
        ("list[str]", "['a', 1]", "the result of stage 'wrong'[1] should be str, got int"),
        ("float", "float('inf')", "not finite"),
        ("str", "'\\ud800'", "lone surrogate"),
        ("dict[str, int]", "{'$a': 1}", "dollar sign"),
    ],
)
def test_a_result_of_the_wrong_type(start: Start, annotation: str, value: str, text: str) -> None:
    engine = start(f"""
        @stage
        async def wrong() -> {annotation}:
            return {value}
    """)
    error = engine.answer_to(engine.call("wrong"))["error"]
    assert error["code"] == "failed"
    assert text in error["message"]
    assert error["site"] == {"file": "pipeline.py", "line": 3}


def test_a_result_that_is_too_large(start: Start) -> None:
    engine = start("""
        @stage
        def large(size: int) -> str: return "x" * size
    """)
    limit = 4 << 20
    assert len(engine.answer_to(engine.call("large", size=limit - 2))["result"]["value"]) == limit - 2
    error = engine.answer_to(engine.call("large", size=limit - 1))["error"]
    assert error["code"] == "too_large"
    assert error["hint"] == "return a File"


def test_a_message_that_is_too_long_is_cut(start: Start) -> None:
    engine = start("""
        @stage
        def fails() -> None: raise ValueError("é" * 100_000)
    """)
    error = engine.answer_to(engine.call("fails"))["error"]
    assert len(error["message"].encode()) in (65_535, 65_536)
    assert len(error["trace"].encode()) <= 65_536


def test_a_message_that_json_cannot_hold(start: Start) -> None:
    engine = start("""
        class Odd(Exception):
            def __str__(self): raise RuntimeError
        @stage
        def surrogate() -> None: raise ValueError("\\ud800")
        @stage
        def odd() -> None: raise Odd
    """)
    assert engine.answer_to(engine.call("surrogate"))["error"]["message"] == "ValueError: ?"
    assert engine.answer_to(engine.call("odd"))["error"]["message"].startswith("Odd: (its message")


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
    assert [file["path"] for file in answer["files"]] == [str(source)]

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
                return "gave up"
            return "?"
    """)
    ident = engine.call("impatient")
    step = engine.asked("step.run")
    assert engine.asked("cancel")["params"] == {"id": step["id"]}
    assert engine.answer_to(ident)["result"]["value"] == "gave up"
