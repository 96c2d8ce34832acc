"""Test published projects: their own releases, with their own tests, on every interpreter here.

What there is to do is known only when the pipeline runs: it depends on the interpreters of this
machine, and on the test modules in the archives. Both are found by a stage, and the stages after
it are fanned out over what it found:

    tools -> sdists -> unpack ----------+
                          |             v
    interpreters ------> plan -> build[each] -> shards -> test[each] -> summary
"""

import asyncio
import sys
from dataclasses import dataclass
from glob import glob

from towpath import (
    Directory,
    File,
    OperationError,
    TestReport,
    each,
    gather,
    log,
    main,
    out,
    param,
    run,
    source,
    stage,
    tool,
)

VERSIONS = ("3.11", "3.12", "3.13")
NEEDS = {"test_echo_via_pager.py": "less"}  # programs, by the test modules that start them
INDEX = param("", env="PIP_INDEX_URL", doc="package index; empty for that of pip")
MODULES_PER_SHARD = 15
MAX_SHARDS = 4


@dataclass(frozen=True)
class Interpreter:
    """A Python of this machine."""

    version: str
    path: str


@dataclass(frozen=True)
class Sdist:
    """A source distribution, packed and unpacked."""

    name: str
    archive: File
    tree: Directory


@dataclass(frozen=True)
class Job:
    """A project on an interpreter."""

    sdist: Sdist
    interpreter: Interpreter


@dataclass(frozen=True)
class Built:
    """A job, and the folder that the project is installed in."""

    job: Job
    site: Directory


@dataclass(frozen=True)
class Shard:
    """A part of the tests of what was built."""

    built: Built
    modules: list[str]


@dataclass(frozen=True)
class ShardResult:
    """What a shard found."""

    project: str
    version: str
    report: TestReport


@dataclass(frozen=True)
class Line:
    """All tests of a project on an interpreter."""

    project: str
    version: str
    tests: int
    skipped: int


@stage(retry=2, timeout="10m")
async def tools(lock: Directory = source("requirements.lock"), index: str = INDEX) -> Directory:
    """Install what builds and tests need, checked against the hashes of the lock file."""
    installed = await run(
        *(sys.executable, "-m", "pip", "install", *_QUIETLY, "--no-compile"),
        *("--require-hashes", "--no-deps", "--only-binary", ":all:"),
        *("--target", "tools", "--requirement", "requirements.lock"),
        tree=lock,
        env=_from(index),
        outputs=["tools"],
        network=True,
    )
    return installed.directory("tools")


@stage(retry=2, timeout="10m")
async def sdists(
    lock: Directory = source("sdists.lock"),
    tools: Directory = out(tools),
    index: str = INDEX,
) -> list[File]:
    """Download the archives, checked against the hashes of the lock file."""
    python = await tool(sys.executable)
    downloaded = await run(
        *_with("tools"),
        *(python, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"),
        *("--no-cache-dir", "--require-hashes", "--no-deps", "--no-binary", ":all:"),
        *("--no-build-isolation", "--dest", "sdists", "--requirement", "sdists.lock"),
        tree={"": lock, "tools": tools},
        env=_from(index),
        outputs=["sdists/*.tar.gz"],
        network=True,
    )
    return downloaded.files()


@stage
async def unpack(archives: list[File] = out(sdists)) -> list[Sdist]:
    """Unpack the archives."""

    async def unpacked(archive: File) -> Sdist:
        done = await run(
            *("tar", "-xzf", f"../{archive.name}", "--strip-components", "1"),
            tree={archive.name: archive},
            cwd="tree",
            outputs=["tree"],
        )
        return Sdist(archive.name.removesuffix(".tar.gz"), archive, done.directory("tree"))

    return await asyncio.gather(*(unpacked(archive) for archive in archives))


@stage
async def interpreters() -> list[Interpreter]:
    """Find the interpreters of this machine, at least the one that runs this pipeline."""
    found: dict[str, str] = {}
    for candidate in (sys.executable, *(f"python{version}" for version in VERSIONS)):
        try:
            path = await tool(_behind(await tool(candidate)))
        except OperationError:
            continue
        asked = await run(
            *(
                path,
                "-c",
                "import sys; print(*sys.version_info[:2], sep='.'); print(sys.executable)",
            ),
            ok="any",
        )
        if asked.exit_code == 0:
            version, path = (await asked.stdout.text()).splitlines()
            found.setdefault(version, path)
    log(f"found Python {', '.join(sorted(found))}")
    return [Interpreter(version, path) for version, path in sorted(found.items())]


@stage
def plan(
    sdists: list[Sdist] = out(unpack),
    interpreters: list[Interpreter] = out(interpreters),
) -> list[Job]:
    """Pair every project with every interpreter."""
    return [Job(sdist, interpreter) for sdist in sdists for interpreter in interpreters]


@stage(timeout="10m")
async def build(job: Job = each(out(plan)), tools: Directory = out(tools)) -> Built:
    """Build and install a project, as its users do."""
    archive = job.sdist.archive
    python = await tool(job.interpreter.path)
    installed = await run(
        *_with("tools"),
        *(python, "-m", "pip", "install", *_QUIETLY, "--no-compile"),
        *("--no-index", "--no-deps", "--no-build-isolation", "--target", "site", archive.name),
        tree={archive.name: archive, "tools": tools},
        outputs=["site"],
    )
    return Built(job, installed.directory("site"))


@stage
async def shards(builds: list[Built] = gather(build)) -> list[Shard]:
    """Divide the test modules of each project, but for those that need what is not here."""
    lacking = [module for module, program in NEEDS.items() if not await _has(program)]
    for module in lacking:
        log(f"{module} is left out: there is no {NEEDS[module]} here", "warning")
    found: list[Shard] = []
    for built in builds:
        entries = await built.job.sdist.tree.entries("tests", recursive=True)
        modules = [
            f"tests/{entry.path}"
            for entry in entries
            if _is_test_module(entry.path) and not entry.path.endswith(tuple(lacking))
        ]
        count = min(-(-len(modules) // MODULES_PER_SHARD), MAX_SHARDS)
        found += [Shard(built, modules[start::count]) for start in range(count)]
    return found


@stage(timeout="15m")
async def test(shard: Shard = each(out(shards)), tools: Directory = out(tools)) -> ShardResult:
    """Run a part of a project's own tests against the project as installed."""
    job = shard.built.job
    python = await tool(job.interpreter.path)
    done = await run(
        *_with("site", "tools"),
        *(python, "-m", "pytest", "-p", "no:cacheprovider"),
        *("--junit-xml", "report.xml", *shard.modules),
        tree={
            "": await job.sdist.tree.filter("pyproject.toml", "tests"),
            "site": shard.built.site,
            "tools": tools,
        },
        env={"PYTHONDONTWRITEBYTECODE": "1"},
        outputs=["report.xml"],
    )
    report = await TestReport.from_junit(done.file("report.xml"))
    return ShardResult(job.sdist.name, job.interpreter.version, report)


@stage
def summary(results: list[ShardResult] = gather(test)) -> list[Line]:
    """Add up the tests of each project on each interpreter."""
    lines: list[Line] = []
    for project, version in sorted({(result.project, result.version) for result in results}):
        reports = [
            result.report
            for result in results
            if (result.project, result.version) == (project, version)
        ]
        line = Line(
            project,
            version,
            tests=sum(report.tests for report in reports),
            skipped=sum(report.skipped for report in reports),
        )
        log(f"{project} on Python {version}: {line.tests} tests, {line.skipped} skipped")
        lines.append(line)
    return lines


_QUIETLY = (
    *("--quiet", "--disable-pip-version-check", "--no-cache-dir"),
    *("--root-user-action", "ignore"),
)


def _with(*folders: str) -> tuple[str, ...]:
    """Have the command that follows find modules in folders of its workspace, wherever that is."""
    path = ":".join(f"$PWD/{folder}" for folder in folders)
    return ("sh", "-c", f'PYTHONPATH={path} exec "$@"', "sh")


def _from(index: str) -> dict[str, str]:
    """Have pip take packages from an index."""
    return {"PIP_INDEX_URL": index} if index else {}


def _behind(path: str) -> str:
    """Return the interpreter itself where `path` is the script of a version manager.

    The script needs more than a step sees.
    """
    folder, _, name = path.rpartition("/")
    if not folder.endswith("/shims"):
        return path
    version = name.removeprefix("python")
    found = glob(f"{folder.removesuffix('shims')}versions/{version}.*/bin/{name}")
    return max(found, key=lambda found: (len(found), found), default=path)


async def _has(program: str) -> bool:
    try:
        await tool(program)
    except OperationError:
        return False
    return True


def _is_test_module(path: str) -> bool:
    name = path.rpartition("/")[2]
    return name.startswith("test_") and name.endswith(".py")


if __name__ == "__main__":
    main()
