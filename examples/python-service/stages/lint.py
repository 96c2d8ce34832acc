"""Style."""

import asyncio

from towpath import Directory, out, run, source, stage

from stages.deps import deps

_CODE = ("pyproject.toml", "pipeline.py", "checks", "pipeline_tests", "src", "stages", "tests")


@stage
async def lint(code: Directory = source(*_CODE), deps: Directory = out(deps)) -> None:
    """Check the style of all code, that of the pipeline too."""
    tree = {"": code, "deps": deps}
    await asyncio.gather(
        run("deps/bin/ruff", "check", "--no-cache", *_CODE[1:], tree=tree),
        run("deps/bin/ruff", "format", "--no-cache", "--check", *_CODE[1:], tree=tree),
    )
