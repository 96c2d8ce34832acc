"""Stages that take the outputs of others, and plain values."""

from towpath import Directory, File, out, source, stage


@stage
def compile(src: Directory = source("src")) -> File:
    raise NotImplementedError


@stage
def lint(src: Directory = source("src"), strict: bool = True) -> str:
    raise NotImplementedError


@stage
def count(binary: File = out(compile), limit: int = 10) -> int:
    raise NotImplementedError


@stage
async def summary(binary: File = out(compile), findings: str = out(lint), size: int = out(count), note: str = "") -> str:
    raise NotImplementedError
