"""Where in the user's program something was written."""

from __future__ import annotations

import os
import sys
from typing import NamedTuple

SDK_FOLDER = os.path.dirname(os.path.abspath(__file__)) + os.sep


class Site(NamedTuple):
    """A line of a file; `file` is as Python knows it, mostly an absolute path."""

    file: str
    line: int


def caller() -> Site:
    """Return the innermost line on the stack that is not of this SDK."""
    frame = sys._getframe(1)  # noqa: SLF001 - the inspect module is too heavy to import
    while frame.f_back is not None and frame.f_code.co_filename.startswith(SDK_FOLDER):
        frame = frame.f_back
    return Site(frame.f_code.co_filename, frame.f_lineno)


def relative(file: str, root: str | None) -> str:
    """Return `file` relative to `root` with `/`, or unchanged where it is not below it."""
    if root is None:
        return file
    prefix = root if root.endswith(os.sep) else root + os.sep
    return file[len(prefix) :].replace(os.sep, "/") if file.startswith(prefix) else file
