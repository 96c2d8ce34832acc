"""The packages of the lock file."""

from towpath import Directory, source, stage

from stages._python import python


@stage(retry=2, timeout="10m")
async def deps(lock: Directory = source("requirements.lock")) -> Directory:
    """Install the locked packages, checked against their hashes, into a folder."""
    installed = await python(
        *("-m", "pip", "install", "--quiet", "--disable-pip-version-check"),
        *("--root-user-action", "ignore", "--no-cache-dir", "--no-compile"),
        *("--require-hashes", "--no-deps", "--only-binary", ":all:"),
        *("--target", "deps", "--requirement", "requirements.lock"),
        tree=lock,
        outputs=["deps"],
    )
    return installed.directory("deps")
