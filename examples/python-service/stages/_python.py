"""How the stages run Python."""

import sys
from collections.abc import Mapping, Sequence

from towpath import Directory, File, StepResult, run


async def python(
    *args: str,
    tree: Directory,
    deps: Directory | None = None,
    mounts: Mapping[str, Directory | File] | None = None,
    path: Sequence[str] = (),
    env: Mapping[str, str] | None = None,
    outputs: Sequence[str] = (),
    network: bool = False,
) -> StepResult:
    """Run the interpreter that runs this pipeline, with the locked packages in `deps`.

    The workspace holds `tree` at its root and `mounts` at the paths that they name. Modules are
    looked for in `path`, then in `deps`.
    """
    content: dict[str, Directory | File] = {"": tree, **(mounts or {})}
    if deps is not None:
        content["deps"] = deps
        path = [*path, "deps"]
    return await run(
        sys.executable,
        *args,
        tree=content,
        env={
            **(env or {}),
            "PYTHONDONTWRITEBYTECODE": "1",
            "PYTHONHASHSEED": "0",
            "PYTHONPATH": ":".join(path),
            "SOURCE_DATE_EPOCH": "315532800",  # what is packed is the same each time
        },
        outputs=outputs,
        network=network,
    )
