"""The way out."""

from pathlib import Path

from towpath import File, effect, out, param

from stages.coverage import coverage
from stages.lint import lint
from stages.smoke import smoke
from stages.typecheck import typecheck
from stages.wheel import wheel


@effect(after=[coverage, lint, smoke, typecheck], idempotent=True)
async def publish(
    wheel: File = out(wheel),
    index: str = param(
        "/srv/wheels", env="PUBLISH_INDEX", doc="folder that the package index serves"
    ),
) -> str:
    """Put the wheel where the package index serves it from."""
    if not Path(index).is_dir():  # noqa: ASYNC240 - it takes no time
        message = f"there is no folder {index}: make it, or name another one with -P index=FOLDER"
        raise FileNotFoundError(message)
    path = f"{index}/{wheel.name}"
    await wheel.download(path)
    return path
