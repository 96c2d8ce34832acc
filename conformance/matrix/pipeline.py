"""A matrix of two axes, gathered, and members of it that are used alone."""

from towpath import Directory, File, TestReport, gather, out, source, stage

OSES = ["linux", "darwin"]
PYTHONS = ["3.11", "3.12"]


@stage
def wheel(src: Directory = source("src"), os: str = "linux") -> File:
    raise NotImplementedError


@stage
def test(src: Directory = source("src"), os: str = "linux", python: str = "3.11", shard: int = 0) -> TestReport:
    raise NotImplementedError


@stage
def report(
    reports: list[TestReport] = gather(test.bind(python=python, os=os) for os in OSES for python in PYTHONS),
    wheels: list[File] = gather([wheel.bind(os="linux"), wheel.bind(os="darwin")]),
) -> str:
    raise NotImplementedError


@stage
def smoke(first: File = out(wheel.bind(os="linux")), one: list[TestReport] = gather(test.bind(os="linux", python="3.11"))) -> None:
    raise NotImplementedError
