"""Stages that are called once for each element of a list that another returns."""

from towpath import Directory, File, TestReport, each, gather, out, source, stage


@stage
def plan(src: Directory = source("tests")) -> list[str]:
    raise NotImplementedError


@stage
def test(name: str = each(out(plan)), src: Directory = source("tests"), verbose: bool = False) -> TestReport:
    raise NotImplementedError


@stage
def shard(name: str = each(out(plan)), half: int = 0) -> File:
    raise NotImplementedError


@stage
def merge(
    reports: list[TestReport] = gather(test),
    halves: list[File] = gather([shard.bind(half=0), shard.bind(half=1)]),
) -> str:
    raise NotImplementedError
