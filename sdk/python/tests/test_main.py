"""Starting a program by hand."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

SDK = Path(__file__).resolve().parent.parent / "src"
PROGRAM = 'from towpath import main\nif __name__ == "__main__":\n    main()\n'


@pytest.fixture
def program(tmp_path: Path) -> Path:
    path = tmp_path / "pipeline.py"
    path.write_text(PROGRAM)
    tow = tmp_path / "bin" / "tow"
    tow.parent.mkdir()
    tow.write_text('#!/bin/sh\necho "$@"\n')
    tow.chmod(0o755)
    return path


def start(program: Path, *args: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(program), *args]
    env = {"PATH": os.environ["PATH"], "PYTHONPATH": str(SDK), **environment}
    return subprocess.run(command, env=env, capture_output=True, text=True, check=False, cwd=program.parent)


def test_it_becomes_tow(program: Path) -> None:
    done = start(program, PATH=f"/nowhere:{program.parent / 'bin'}:{os.environ['PATH']}")
    assert (done.returncode, done.stdout) == (0, f"--file {program} run\n")


def test_arguments_are_passed_on(program: Path) -> None:
    done = start(program, "plan", "--json", TOW=str(program.parent / "bin" / "tow"))
    assert done.stdout == f"--file {program} plan --json\n"


def test_a_package(program: Path) -> None:
    package = program.parent / "pipeline"
    package.mkdir()
    (package / "__main__.py").write_text(PROGRAM)
    assert start(package, TOW=str(program.parent / "bin" / "tow")).stdout == f"--file {package} run\n"


@pytest.mark.parametrize("environment", [{"PATH": "/nowhere"}, {"TOW": "/nowhere/tow"}])
def test_tow_is_not_there(program: Path, environment: dict[str, str]) -> None:
    done = start(program, **environment)
    assert done.returncode == 127
    assert done.stderr == "towpath: the command `tow` was not found\nhint: install Towpath, or set TOW to the path of the command\n"
