"""Tests."""

from dataclasses import dataclass

from towpath import Directory, File, TestReport, out, source, stage

from stages._python import python
from stages.deps import deps

SHARDS = 2


@dataclass(frozen=True)
class ShardResult:
    """What one shard of the tests found."""

    report: TestReport
    coverage: File


@stage(timeout="10m")
async def test(
    code: Directory = source("pyproject.toml", "src", "tests"),
    deps: Directory = out(deps),
    shard: int = 0,
) -> ShardResult:
    """Run one part of the test modules, and measure what they cover."""
    paths = [entry.path for entry in await code.entries("tests")]
    modules = [path for path in paths if path.startswith("test_") and path.endswith(".py")]
    done = await python(
        *("-m", "coverage", "run", "--data-file", "coverage.data"),
        *("-m", "pytest", "-p", "no:cacheprovider", "--junit-xml", "report.xml"),
        *(f"tests/{module}" for module in modules[shard::SHARDS]),
        tree=code,
        deps=deps,
        outputs=["coverage.data", "report.xml"],
    )
    report = await TestReport.from_junit(done.file("report.xml"))
    return ShardResult(report, done.file("coverage.data"))
