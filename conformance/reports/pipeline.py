"""Test reports, alone, in lists and in maps."""

from towpath import Directory, File, TestReport, gather, out, source, stage


@stage
def unit(src: Directory = source("src", "tests")) -> TestReport:
    raise NotImplementedError


@stage
def slow(src: Directory = source("src", "tests"), level: int = 1) -> TestReport:
    raise NotImplementedError


@stage
def collect(
    reports: list[TestReport] = gather([unit, slow.bind(level=1), slow.bind(level=2)]),
) -> dict[str, TestReport]:
    return {report.junit.name: report for report in reports}


@stage
def render(reports: dict[str, TestReport] = out(collect), baseline: TestReport | None = None) -> File:
    raise NotImplementedError
