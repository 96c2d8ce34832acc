"""The graph is data: check that the pipeline declares what it should."""

from pathlib import Path
from typing import Any

import pytest
from towpath.testing import plan


@pytest.fixture(scope="module")
def stages() -> dict[str, Any]:
    program = Path(__file__).parent.parent / "pipeline.py"
    return {stage["name"]: stage for stage in plan(program)["stages"]}


def test_every_stage_is_described(stages: dict[str, Any]) -> None:
    assert [name for name, stage in stages.items() if not stage["doc"]] == []


def test_only_publishing_changes_the_world(stages: dict[str, Any]) -> None:
    assert [name for name, stage in stages.items() if stage["kind"] == "effect"] == ["publish"]


def test_nothing_is_published_that_has_not_been_checked(stages: dict[str, Any]) -> None:
    assert stages["publish"]["after"] == ["coverage", "lint", "smoke", "typecheck"]


def test_coverage_waits_for_every_shard(stages: dict[str, Any]) -> None:
    (shards,) = (i["from"] for i in stages["coverage"]["inputs"] if i["name"] == "shards")
    assert shards["gather"] == [name for name in stages if name.startswith("test[")]
