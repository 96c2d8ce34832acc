"""What the worker reports of the files that a program is made of, and that it never trusts stale bytecode."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path
from typing import Any

from conftest import Start

Write = Callable[..., Path]


def digest(path: Path) -> str:
    content = path.read_bytes()
    return f"{hashlib.sha256(content).hexdigest()}/{len(content)}"


def by_path(reported: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    assert [entry["path"] for entry in reported] == sorted({entry["path"] for entry in reported})
    return {entry["path"]: entry for entry in reported}


def read(reported: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the files that are there."""
    return [entry for entry in reported if "digest" in entry]


def missing(reported: list[dict[str, Any]]) -> set[str]:
    return {entry["path"] for entry in reported if "digest" not in entry}


def test_what_describe_reports(start: Start, write: Write, tmp_path: Path) -> None:
    helper = write("VALUE = 1\n", "helper.py")
    write("", "pkg/__init__.py")
    inner = write("X = 1\n", "pkg/inner.py")
    data = write("data", "data/data.txt")
    write("", "data/é.txt")
    (tmp_path / "binary").write_bytes(b"\0")
    engine = start(f"""
        import os, json, subprocess, pathlib
        import helper
        from pkg import inner
        data = pathlib.Path({str(data)!r}).read_text()
        names = os.listdir({str(tmp_path / "data")!r})
        with os.scandir({str(tmp_path / "pkg")!r}) as found: list(found)
        open({str(tmp_path / "made")!r}, "w").close()
        open("/dev/null").close()
        try:
            open({str(tmp_path / "missing")!r})
        except OSError:
            pass
    """)
    result = engine.result("describe", engine.program())
    assert result["plan"] == {"params": [], "stages": [], "version": 1}
    files = by_path(result["files"])
    names = ("pipeline.py", "helper.py", "pkg/__init__.py", "pkg/inner.py", "data/data.txt")
    assert {entry["path"] for entry in read(result["files"])} == {str(tmp_path / name) for name in names}
    for path in (helper, inner, data, tmp_path / "pipeline.py"):
        assert files[str(path)] == {"path": str(path), "digest": digest(path)}
    assert files[str(tmp_path / "missing")] == {"path": str(tmp_path / "missing")}
    folders = by_path(result["folders"])
    assert folders[str(tmp_path / "data")] == {"path": str(tmp_path / "data"), "names": ["data.txt", "é.txt"], "filter": ""}
    assert folders[str(tmp_path / "pkg")] == {"path": str(tmp_path / "pkg"), "names": ["__init__.py", "inner.py"], "filter": ""}
    # The import system has listed folders as well: what it looked for are missing files.
    assert set(folders) == {str(tmp_path / "data"), str(tmp_path / "pkg")}


def test_what_an_import_looks_for(start: Start, write: Write, tmp_path: Path) -> None:
    write("VALUE = 1\n", "helper.py")
    write("", "pkg/__init__.py")
    write("", "pkg/inner.py")
    write("", "space/part.py")
    (tmp_path / "plain").mkdir()
    engine = start("""
        import json, subprocess
        import helper, pkg.inner, space.part
        try:
            import absent.deep
        except ImportError:
            pass
    """)
    result = engine.result("describe", engine.program())
    looked_for = {os.path.relpath(path, tmp_path) for path in missing(result["files"])}
    # What comes first would be loaded instead; what comes later would not.
    assert {name for name in looked_for if name.split(".")[0].split("/")[0] in ("helper", "pkg", "space", "absent")} == {
        "helper/__init__.py",
        *(f"helper{suffix}" for suffix in EXTENSION_SUFFIXES),
        "pkg/inner/__init__.py",
        *(f"pkg/inner{suffix}" for suffix in EXTENSION_SUFFIXES),
        *(f"space{suffix}" for suffix in ("/__init__.py", ".py", *EXTENSION_SUFFIXES)),
        "space/part/__init__.py",
        *(f"space/part{suffix}" for suffix in EXTENSION_SUFFIXES),
        *(f"absent{suffix}" for suffix in ("/__init__.py", ".py", *EXTENSION_SUFFIXES)),
    }
    # Of the modules that the worker has loaded before, and of the others.
    assert {"json.py", "json/__init__.py", "towpath.py", "subprocess.py", "subprocess/__init__.py"} <= looked_for
    assert not {"sys.py", "os.py", "pipeline.py"} & looked_for
    # A folder with modules in it would be one that is found.
    assert {"path": str(tmp_path / "absent"), "names": [], "filter": "imports"} in result["folders"]
    assert str(tmp_path) not in by_path(result["folders"])


def test_a_late_import_looks_for_files(start: Start, tmp_path: Path) -> None:
    engine = start("""
        @stage
        async def later() -> None:
            try:
                import optional
            except ImportError:
                pass
    """)
    result = engine.answer_to(engine.call("later"))["result"]
    assert str(tmp_path) not in by_path(result["folders"])
    assert {str(tmp_path / name) for name in ("optional.py", "optional/__init__.py")} <= missing(result["files"])
    assert read(result["files"]) == []


def test_nothing_is_written_into_the_tree(start: Start, write: Write, tmp_path: Path) -> None:
    write("VALUE = 1\n", "helper.py")
    write("", "pkg/__init__.py")
    engine = start("import helper, pkg")
    engine.result("describe", engine.program())
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["__init__.py", "helper.py", "pipeline.py", "pkg"]


def test_stale_bytecode_is_not_used(start: Start, write: Write, tmp_path: Path) -> None:
    """An edit may keep size and modification time; the bytecode that Python would have cached is then wrong."""
    helper = write("VALUE = 1\n", "helper.py")
    compile_all = "import helper\n@stage\ndef value() -> int: return helper.VALUE\n"
    engine = start(compile_all)
    assert engine.answer_to(engine.call("value"))["result"]["value"] == 1
    stamp = helper.stat()
    import py_compile

    py_compile.compile(str(helper))
    assert (tmp_path / "__pycache__").is_dir()
    helper.write_text("VALUE = 2\n")
    os.utime(helper, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
    engine = start(compile_all)
    assert engine.answer_to(engine.call("value"))["result"]["value"] == 2


def test_late_files_come_with_every_result(start: Start, write: Write, tmp_path: Path) -> None:
    lazy = write("VALUE = 1\n", "lazy.py")
    data = write("one", "data.txt")
    engine = start(f"""
        @stage
        def imports() -> int:
            import lazy
            return lazy.VALUE
        @stage
        def reads() -> str:
            with open({str(data)!r}) as file:
                return file.read()
        @stage
        def nothing() -> None: ...
    """)
    assert engine.answer_to(engine.call("nothing"))["result"]["files"] == []
    result = engine.answer_to(engine.call("imports"))["result"]
    assert read(result["files"]) == [{"path": str(lazy), "digest": digest(lazy)}]
    result = engine.answer_to(engine.call("reads"))["result"]
    assert read(result["files"]) == [{"path": str(data), "digest": digest(data)}, {"path": str(lazy), "digest": digest(lazy)}]
    result = engine.answer_to(engine.call("nothing"))["result"]
    assert len(read(result["files"])) == 2
    loaded = [file["path"] for file in read(engine.result("load", engine.program())["files"])]
    assert loaded == [str(data), str(lazy), str(tmp_path / "pipeline.py")]
    assert engine.answer_to(engine.call("nothing"))["result"]["files"] == []


def test_folders_that_a_stage_lists_come_with_every_result(start: Start, write: Write, tmp_path: Path) -> None:
    """A file that is added to a folder that a stage has listed makes its result stale."""
    write("", "data/a.txt")
    write("VALUE = 1\n", "more/lazy.py")
    data = str(tmp_path / "data")
    engine = start(f"""
        import os
        @stage
        def nothing() -> None: ...
        @stage
        def lists() -> list[str]:
            return sorted(os.listdir({data!r}))
        @stage
        def walks() -> int:
            return len(list(os.walk({data!r})))
        @stage
        def imports() -> int:
            import more.lazy
            return more.lazy.VALUE
    """)
    assert engine.answer_to(engine.call("nothing"))["result"]["folders"] == []
    listed = {"path": data, "names": ["a.txt"], "filter": ""}
    assert engine.answer_to(engine.call("lists"))["result"]["folders"] == [listed]
    write("", "data/b.txt")
    # What was seen first counts: the second listing does not make the first right.
    assert engine.answer_to(engine.call("walks"))["result"]["folders"] == [listed]
    assert engine.answer_to(engine.call("imports"))["result"]["folders"] == [listed]
    assert engine.answer_to(engine.call("nothing"))["result"]["folders"] == [listed]
    # Loading again takes them for a part of the program.
    assert engine.result("load", engine.program())["folders"] == [listed]
    assert engine.answer_to(engine.call("nothing"))["result"]["folders"] == []


def test_folders_that_a_stage_makes_are_no_part_of_the_program(start: Start, tmp_path: Path) -> None:
    engine = start(f"""
        import os, tempfile
        @stage
        def makes() -> list[str]:
            with tempfile.TemporaryDirectory(dir={str(tmp_path)!r}) as folder:
                os.makedirs(folder + "/a/b")
                with open(folder + "/a/x", "w") as file: file.write("x")
                with open(folder + "/a/x") as file: file.read()
                return sorted(os.listdir(folder + "/a"))
    """)
    result = engine.answer_to(engine.call("makes"))["result"]
    assert result["value"] == ["b", "x"]
    assert result["folders"] == []
    assert read(result["files"]) == []
    assert not [path for path in missing(result["files"]) if path.endswith("/x")]


def test_a_file_that_changes_after_it_was_read_has_no_digest(start: Start, write: Write) -> None:
    data = write("one", "data.txt")
    engine = start(f"""
        import os
        @stage
        def reads() -> None:
            with open({str(data)!r}) as file:
                file.read()
            with open({str(data)!r}, "w") as file:
                file.write("three")
    """)
    assert engine.answer_to(engine.call("reads"))["result"]["files"] == [{"path": str(data)}]


def test_a_module_that_changes_while_it_runs_has_the_digest_of_what_was_loaded(start: Start, write: Write) -> None:
    lazy = write("VALUE = 1\n", "lazy.py")
    loaded = digest(lazy)
    engine = start(f"""
        @stage
        def edits() -> None:
            import lazy
            with open({str(lazy)!r}, "w") as file:
                file.write("VALUE = 3\\n")
    """)
    assert read(engine.answer_to(engine.call("edits"))["result"]["files"]) == [{"path": str(lazy), "digest": loaded}]


def test_an_error_while_loading(start: Start, write: Write) -> None:
    write("def f():\n    raise ValueError('no')\n", "helper.py")
    engine = start("import helper\nhelper.f()\n", load=False)
    error = engine.error("describe", engine.program())
    assert error["code"] == "pipeline"
    assert error["message"] == "helper.py:2: the program cannot be loaded: ValueError: no"
    assert error["site"] == {"file": "helper.py", "line": 2}
    assert 'pipeline.py", line 3, in <module>' in error["trace"]
    assert "importlib" not in error["trace"]
    assert "_program.py" not in error["trace"]


def test_a_syntax_error(start: Start) -> None:
    engine = start("x = = 1\n", load=False)
    error = engine.error("load", engine.program())
    assert error["code"] == "pipeline"
    assert error["site"] == {"file": "pipeline.py", "line": 2}
    assert "SyntaxError" in error["trace"]


def test_a_wrong_declaration(start: Start) -> None:
    engine = start("@stage\ndef a() -> bytes: ...\n", load=False)
    error = engine.error("describe", engine.program())
    assert error["code"] == "pipeline"
    assert error["site"] == {"file": "pipeline.py", "line": 3}
    assert error["hint"].startswith("store the bytes")
    assert "trace" not in error


def test_modules_that_hide_the_standard_library(start: Start, write: Write) -> None:
    write("", "logging.py")
    write("", "email/__init__.py")
    write("", "test/__init__.py")  # nobody imports it
    write("", "select/a.py")  # no package
    write("", "parts/token.py")
    engine = start("", load=False)
    error = engine.error("load", engine.program())
    assert error["code"] == "pipeline"
    assert [line.split(" (")[0] for line in error["message"].splitlines()] == [
        "email/__init__.py:1: this file hides the module 'email' of Python's standard library, which other modules import",
        "logging.py:1: this file hides the module 'logging' of Python's standard library, which other modules import",
    ]
    assert "give it another name" in error["message"]


def test_a_program_that_is_not_there(start: Start) -> None:
    engine = start()
    error = engine.error("describe", engine.program())
    assert error["code"] == "pipeline"
    assert "no pipeline program" in error["message"]


def test_a_second_program(start: Start, tmp_path: Path) -> None:
    engine = start("")
    error = engine.error("describe", {"program": str(tmp_path / "other.py"), "root": str(tmp_path)})
    assert error["code"] == "invalid"
    assert engine.error("describe", {"program": "pipeline.py", "root": "."})["code"] == "invalid"


def test_sites(start: Start) -> None:
    engine = start("""
        @stage
        def a(x: int = 1) -> None: ...

        @stage(after=[
            a.bind(x=2),
        ])
        def b() -> None: ...
    """)
    sites = engine.result("describe", engine.program())["sites"]
    assert sites == {"a[x=2]": {"file": "pipeline.py", "line": 7}, "b": {"file": "pipeline.py", "line": 6}}


def test_describe_does_not_import_asyncio(start: Start) -> None:
    engine = start("""
        import sys
        @stage
        async def a(x: int = each([1])) -> None: ...
        @stage
        def heavy() -> list[str]:
            names = ("asyncio", "inspect", "dataclasses", "subprocess", "logging", "pathlib", "ast")
            return [name for name in names if name in sys.modules]
    """)
    engine.result("describe", engine.program())
    assert engine.answer_to(engine.call("heavy"))["result"]["value"] == []


def test_a_package_as_program(start: Start, write: Write, tmp_path: Path) -> None:
    write("from .build import built\n", "ci/__init__.py")
    write("from towpath import stage\n@stage\ndef built() -> str: return __name__\n", "ci/build.py")
    engine = start()
    params = {"program": str(tmp_path / "ci"), "root": str(tmp_path)}
    result = engine.result("describe", params)
    assert result["sites"]["built"] == {"file": "ci/build.py", "line": 2}
    assert str(tmp_path / "ci" / "build.py") in by_path(result["files"])
    assert engine.answer_to(engine.call("built"))["result"]["value"] == "pipeline.build"


def test_files_that_the_program_makes_are_no_part_of_it(start: Start, tmp_path: Path) -> None:
    engine = start(f"""
        import os, tempfile
        with tempfile.TemporaryFile(dir={str(tmp_path)!r}) as file: file.write(b"x")
        open({str(tmp_path / "made")!r}, "w+").close()
        os.close(os.open({str(tmp_path / "exclusive")!r}, os.O_RDWR | os.O_CREAT | os.O_EXCL))
    """)
    files = engine.result("describe", engine.program())["files"]
    assert [file["path"] for file in read(files)] == [str(tmp_path / "pipeline.py")]
    assert not {str(tmp_path / "made"), str(tmp_path / "exclusive")} & missing(files)


def test_files_that_threads_read_while_digests_are_taken(start: Start, write: Write, tmp_path: Path) -> None:
    for number in range(30):
        write(str(number), f"data/{number}.txt")
    engine = start(f"""
        @stage
        def reads(number: int) -> str:
            with open({str(tmp_path / "data")!r} + f"/{{number}}.txt") as file:
                return file.read()
    """)
    for ident in [engine.call("reads", number=number) for number in range(30)]:
        assert "result" in engine.answer_to(ident)
    files = engine.answer_to(engine.call("reads", number=0))["result"]["files"]
    assert len(files) == 30
    assert all("digest" in file for file in files)


def test_what_the_recorder_reads_itself_is_not_recorded(start: Start, write: Write) -> None:
    data = write("one", "data.txt")
    engine = start(
        f"""
        with open({str(data)!r}) as file:
            TEXT = file.read()
        @stage
        def nothing() -> None: ...
        """,
        load=False,
    )
    assert len(read(engine.result("describe", engine.program())["files"])) == 2
    assert engine.answer_to(engine.call("nothing"))["result"]["files"] == []


def test_late_imports_of_the_standard_library_are_not_noted(start: Start) -> None:
    engine = start("""
        @stage
        async def later() -> None:
            import asyncio, colorsys
    """)
    engine.result("describe", engine.program())
    result = engine.answer_to(engine.call("later"))["result"]
    assert result["files"] == []
    assert result["folders"] == []
