"""A last look at what is about to be published."""

from towpath import Directory, File, out, source, stage

from stages._python import python
from stages.deps import deps
from stages.wheel import wheel


@stage(timeout="5m")
async def smoke(
    checks: Directory = source("checks"),
    deps: Directory = out(deps),
    wheel: File = out(wheel),
) -> str:
    """Install the wheel, start the service and send a parcel on its way."""
    installed = await python(
        *("-m", "pip", "install", "--quiet", "--disable-pip-version-check"),
        *("--root-user-action", "ignore", "--no-cache-dir", "--no-index", "--no-deps"),
        *("--target", "site", wheel.name),
        tree=checks,
        mounts={wheel.name: wheel},
        outputs=["site"],
    )
    answer = await python(
        "checks/smoke.py",
        tree=checks,
        deps=deps,
        mounts={"site": installed.directory("site")},
        path=["site"],
    )
    return (await answer.stdout.text()).strip()
