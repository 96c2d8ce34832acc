"""Towpath: pipelines as typed functions.

A pipeline is a program that declares stages; the command `tow` plans, runs, caches and records it.

    from towpath import Directory, TestReport, run, source, stage

    @stage
    async def test(src: Directory = source("src", "tests")) -> TestReport:
        result = await run("pytest", "--junit-xml=report.xml", tree=src, outputs=["report.xml"])
        return await TestReport.from_junit(result.file("report.xml"))
"""

from towpath._declare import Bound, Node, Stage, each, effect, gather, out, param, secret, source, stage
from towpath._errors import (
    Cancelled,
    MissingInputError,
    OperationError,
    PipelineError,
    StepError,
    TowpathError,
    UsageError,
)
from towpath._main import main
from towpath._operations import log, run, tool
from towpath._pending import Pending
from towpath._values import Directory, Entry, File, Secret, StepResult, TestReport
from towpath._version import __version__

__all__ = [
    "Bound",
    "Cancelled",
    "Directory",
    "Entry",
    "File",
    "MissingInputError",
    "Node",
    "OperationError",
    "Pending",
    "PipelineError",
    "Secret",
    "Stage",
    "StepError",
    "StepResult",
    "TestReport",
    "TowpathError",
    "UsageError",
    "__version__",
    "each",
    "effect",
    "gather",
    "log",
    "main",
    "out",
    "param",
    "run",
    "secret",
    "source",
    "stage",
    "tool",
]
