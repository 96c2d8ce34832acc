"""Fixtures: programs in temporary folders, and workers that host them."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from engine import Engine
from towpath import testing

Start = Callable[..., Engine]
Plan = Callable[[str], dict[str, Any]]


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    """Write a file of the program and return its path."""

    def write_file(text: str, name: str = "pipeline.py") -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text))
        return path

    return write_file


@pytest.fixture
def start(tmp_path: Path, write: Callable[..., Path]) -> Iterator[Start]:
    """Start a worker for a program; it has shaken hands and loaded the program, unless told otherwise."""
    engines: list[Engine] = []

    def start_engine(text: str | None = None, *, hello: bool = True, load: bool = True, **more: Any) -> Engine:
        if text is not None:
            write("from towpath import *\n" + textwrap.dedent(text))
        engine = Engine(tmp_path, **more)
        engines.append(engine)
        if hello:
            engine.hello()
            if load and text is not None:
                engine.result("load", engine.program())
        return engine

    yield start_engine
    for engine in engines:
        engine.close()


@pytest.fixture
def plan_of(write: Callable[..., Path]) -> Plan:
    """Return the plan of a program, whose first line imports all of towpath."""

    def plan(text: str) -> dict[str, Any]:
        return testing.plan(write("from towpath import *\n" + textwrap.dedent(text)))

    return plan


@pytest.fixture
def stages_of(plan_of: Plan) -> Plan:
    """Return the stages of a program's plan by name."""

    def stages(text: str) -> dict[str, Any]:
        return {stage["name"]: stage for stage in plan_of(text)["stages"]}

    return stages
