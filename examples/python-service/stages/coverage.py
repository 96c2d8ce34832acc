"""What the tests cover, all shards together."""

from dataclasses import dataclass

from towpath import Directory, File, gather, log, out, source, stage

from stages._python import python
from stages.deps import deps
from stages.test import SHARDS, ShardResult, test


@dataclass(frozen=True)
class Covered:
    """How much of the code the tests ran."""

    percent: float
    tests: int
    xml: File


@stage
async def coverage(
    code: Directory = source("pyproject.toml", "src"),
    deps: Directory = out(deps),
    shards: list[ShardResult] = gather(test.bind(shard=shard) for shard in range(SHARDS)),
) -> Covered:
    """Add up the coverage of all shards; fail below the limit that pyproject.toml sets."""
    parts = {f"parts/{number}": shard.coverage for number, shard in enumerate(shards)}
    combined = await python(
        *("-m", "coverage", "combine", "--data-file", "coverage.data", *parts),
        tree=code,
        deps=deps,
        mounts=parts,
        outputs=["coverage.data"],
    )
    data = {"coverage.data": combined.file("coverage.data")}
    with_data = ("--data-file", "coverage.data")
    total = await python(
        *("-m", "coverage", "report", *with_data, "--format", "total", "--precision", "1"),
        tree=code,
        deps=deps,
        mounts=data,
    )
    xml = await python(
        *("-m", "coverage", "xml", *with_data, "-o", "coverage.xml"),
        tree=code,
        deps=deps,
        mounts=data,
        outputs=["coverage.xml"],
    )
    covered = Covered(
        percent=float(await total.stdout.text()),
        tests=sum(shard.report.tests for shard in shards),
        xml=xml.file("coverage.xml"),
    )
    log(f"{covered.tests} tests cover {covered.percent} %")
    return covered
