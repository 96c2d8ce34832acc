"""The worker, as the engine sees it."""

from __future__ import annotations

import os
import signal
from typing import Any

import pytest

from conftest import Start
from engine import STEP, TREE, Engine

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


def test_a_wrapped_coroutine_function(start: Start) -> None:
    engine = start("""
        import functools
        def twice(function):
            @functools.wraps(function)
            def wrapper(*args, **kwargs): return function(*args, **kwargs)
            return wrapper
        @stage
        @twice
        async def a(x: int) -> int: return x + (await run("b")).exit_code
    """)
    ident = engine.call("a", x=3)
    engine.reply(engine.asked("step.run"), STEP)
    assert engine.answer_to(ident)["result"]["value"] == 3


def test_a_record_with_more_fields_than_were_declared(start: Start) -> None:
    engine = start("""
        from dataclasses import dataclass
        @dataclass(frozen=True)
        class A:
            x: int
        @dataclass(frozen=True)
        class B(A):
            y: int
        @stage
        def wrong() -> A: return B(1, 2)
    """)
    assert "should be A, got B" in engine.answer_to(engine.call("wrong"))["error"]["message"]
