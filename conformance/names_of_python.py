"""Print every public name of the SDK, one a line: what docs/sdk-names.md has to list.

A member is `Class.member`, a keyword-only argument `function(argument=)`, what the test kit has `testing.name`.
"""

from __future__ import annotations

import inspect
import types
from typing import Any

import towpath
import towpath.testing


def show(name: str, value: Any) -> None:
    """Print a name, and those of its members and arguments."""
    print(name)
    if inspect.isclass(value):
        public = {
            member
            for base in own(value)
            for member in (*vars(base), *getattr(base, "__annotations__", ()))
            if not member.startswith("_")
        }
        for member in sorted(public):
            found = inspect.getattr_static(value, member, None)
            print(f"{name}.{member}")
            if isinstance(found, types.FunctionType | classmethod):
                arguments(f"{name}.{member}", getattr(value, member))
    elif isinstance(value, types.FunctionType):
        arguments(name, value)


def own(value: type) -> list[type]:
    """Return the class and those of its bases that are the SDK's."""
    return [base for base in value.__mro__ if base.__module__.startswith("towpath")]


def arguments(name: str, function: Any) -> None:
    """Print the keyword-only arguments of a function."""
    for parameter in inspect.signature(function).parameters.values():
        if parameter.kind is parameter.KEYWORD_ONLY:
            print(f"{name}({parameter.name}=)")


for each_name in towpath.__all__:
    show(each_name, getattr(towpath, each_name))
for each_name in towpath.testing.__all__:
    show(f"testing.{each_name}", getattr(towpath.testing, each_name))
for attribute in vars(towpath.testing.FakeEngine()):
    if not attribute.startswith("_"):
        print(f"testing.FakeEngine.{attribute}")
