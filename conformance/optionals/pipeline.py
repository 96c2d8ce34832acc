"""Outputs that go into inputs which may be missing."""

from towpath import Directory, File, out, source, stage


@stage
def build(src: Directory | None = source("src")) -> File:
    raise NotImplementedError


@stage
def find(binary: File | None = out(build), cache: Directory | None = None) -> str | None:
    return None


@stage
def show(found: str | None = out(find), count: int | None = 0, ratio: float | None = None) -> str | None:
    return found
