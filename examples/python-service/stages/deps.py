"""The packages of the lock file."""

from towpath import Directory, param, source, stage

from stages._python import python


@stage(retry=2, timeout="10m")
async def deps(
    lock: Directory = source("requirements.lock"),
    packages: str = param("", env="PIP_INDEX_URL", doc="package index; empty for that of pip"),
) -> Directory:
    """Install the locked packages, checked against their hashes, into a folder.

    No other stage uses the network.
    """
    installed = await python(
        *("-m", "pip", "install", "--quiet", "--disable-pip-version-check"),
        *("--root-user-action", "ignore", "--no-cache-dir", "--no-compile"),
        *("--require-hashes", "--no-deps", "--only-binary", ":all:"),
        *("--target", "deps", "--requirement", "requirements.lock"),
        tree=lock,
        env={"PIP_INDEX_URL": packages} if packages else {},
        outputs=["deps"],
        network=True,
    )
    return installed.directory("deps")
