"""The package that users install."""

from towpath import Directory, File, out, source, stage

from stages._python import python
from stages.deps import deps


@stage
async def wheel(
    code: Directory = source("pyproject.toml", "README.md", "src"),
    deps: Directory = out(deps),
) -> File:
    """Build the wheel with the locked build backend."""
    built = await python(
        *("-m", "pip", "wheel", "--disable-pip-version-check", "--no-cache-dir"),
        *("--no-index", "--no-deps", "--no-build-isolation", "--wheel-dir", "dist", "."),
        tree=code,
        deps=deps,
        outputs=["dist/*.whl"],
    )
    (file,) = built.files()
    return file
