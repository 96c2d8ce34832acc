"""Starting a program by hand: section 9 of the protocol's specification."""

from __future__ import annotations

import os
import sys
from typing import NoReturn

from towpath._errors import UsageError


def main() -> NoReturn:
    """Run this program with `tow`; it belongs at the end of the program, below `if __name__ == "__main__":`.

    Replaces this process with `tow --file PROGRAM` and the arguments of the command line, or `run` where there are none. `tow` is looked
    up at `$TOW`, then in `PATH`; where it is not found, the process exits with status 127.

    Raises:
        UsageError: The program is being imported, and not run.
    """
    module = sys.modules["__main__"]
    file = getattr(module, "__file__", None)
    caller = sys._getframe(1).f_globals.get("__name__")  # noqa: SLF001 - the inspect module is too heavy to import
    if caller != "__main__" or file is None:
        message = "main() was called by a program that is being imported"
        raise UsageError(message, hint='guard it: if __name__ == "__main__": main()')
    program = os.path.abspath(file)
    if os.path.basename(program) == "__main__.py":
        program = os.path.dirname(program)
    tow = _find()
    if tow is None:
        print("towpath: the command `tow` was not found", file=sys.stderr)
        print("hint: install Towpath, or set TOW to the path of the command", file=sys.stderr)
        sys.exit(127)
    sys.stdout.flush()
    sys.stderr.flush()
    os.execv(tow, [tow, "--file", program, *(sys.argv[1:] or ["run"])])  # noqa: S606 - that is its purpose


def _find() -> str | None:
    chosen = os.environ.get("TOW")
    if chosen:
        return chosen if _is_command(chosen) else None
    for folder in os.environ.get("PATH", os.defpath).split(os.pathsep):
        command = os.path.join(folder or ".", "tow")
        if _is_command(command):
            return command
    return None


def _is_command(path: str) -> bool:
    return os.path.isfile(path) and os.access(path, os.X_OK)
