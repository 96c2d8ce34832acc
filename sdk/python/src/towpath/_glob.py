"""Globs: `*`, `?`, `[…]`, `{a,b}` and `**`, as section 7 of the protocol's specification has them."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence


def matcher(globs: Sequence[str]) -> Callable[[str], bool]:
    """Return a function that tells whether a path is taken by `globs`.

    A glob that names a folder takes everything below it, and one that starts with `!` takes away.

    Raises:
        ValueError: A glob is malformed.
    """
    compiled = [(not glob.startswith("!"), re.compile(_translated(glob.removeprefix("!")))) for glob in globs]

    def matches(path: str) -> bool:
        taken = False
        for takes, expression in compiled:
            if takes != taken and expression.fullmatch(path):
                taken = takes
        return taken

    return matches


def _translated(glob: str) -> str:
    expression, rest = _alternatives(glob.rstrip("/"), 0, nested=False)
    if rest != len(glob.rstrip("/")):
        message = f"the glob {glob!r} has a brace too many"
        raise ValueError(message)
    return rf"(?s:{expression}(?:/.*)?)"


def _alternatives(glob: str, start: int, *, nested: bool) -> tuple[str, int]:
    """Translate up to the closing brace, or the end."""
    parts: list[str] = []
    at = start
    while at < len(glob):
        character = glob[at]
        if nested and character == "}":
            return "".join(parts), at
        if nested and character == ",":
            parts.append("|")
            at += 1
        elif character == "{":
            inner, at = _alternatives(glob, at + 1, nested=True)
            parts.append(f"(?:{inner})")
            at += 1
        else:
            part, at = _single(glob, at)
            parts.append(part)
    if nested:
        message = f"the glob {glob!r} has a brace that is not closed"
        raise ValueError(message)
    return "".join(parts), at


def _single(glob: str, at: int) -> tuple[str, int]:
    """Translate what is neither a brace nor a comma between braces."""
    starts_part = at == 0 or glob[at - 1] in "/{,"
    if glob.startswith("**/", at) and starts_part:
        return "(?:[^/]+/)*", at + 3
    if glob.startswith("/**", at) and (at + 3 == len(glob) or glob[at + 3] in ",}"):
        return "(?:/.*)?", at + 3
    if glob.startswith("**", at) and starts_part and (at + 2 == len(glob) or glob[at + 2] in ",}"):
        return ".*", at + 2
    match glob[at]:
        case "*":
            return "[^/]*", at + 1
        case "?":
            return "[^/]", at + 1
        case "[":
            return _set(glob, at)
        case "\\" if at + 1 < len(glob):
            return re.escape(glob[at + 1]), at + 2
        case character:
            return re.escape(character), at + 1


def _set(glob: str, at: int) -> tuple[str, int]:
    end = glob.find("]", at + 2)
    if end < 0:
        message = f"the glob {glob!r} has a bracket that is not closed"
        raise ValueError(message)
    content = glob[at + 1 : end]
    negated = content[0] in "!^"
    content = content[negated:].replace("\\", "\\\\").replace("[", "\\[").replace("&&", "&\\&").replace("||", "|\\|")
    return f"(?!/)[{'^' if negated else ''}{content}]", end + 1
