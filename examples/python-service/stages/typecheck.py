"""Types."""

from towpath import Directory, out, source, stage

from stages._python import python
from stages.deps import deps


@stage(timeout="10m")
async def typecheck(
    code: Directory = source("pyproject.toml", "checks", "src", "tests"),
    deps: Directory = out(deps),
) -> None:
    """Check the types of the service and of its tests."""
    await python("-m", "mypy", "--strict", "src", "tests", "checks", tree=code, deps=deps)
