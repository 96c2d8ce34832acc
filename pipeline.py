"""Towpath's own checks: `tow run`.

Steps inherit nothing. To lend them the caches of Go, which saves most of the time:

    GOCACHE=$(go env GOCACHE) GOMODCACHE=$(go env GOMODCACHE) tow run
"""

import asyncio
import json
import sys
from dataclasses import dataclass
from xml.sax.saxutils import quoteattr

from towpath import (
    Directory,
    File,
    OperationError,
    StepResult,
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

PYTHONS = ("3.11", "3.12", "3.13", "3.14")
PLATFORMS = ("darwin/arm64", "linux/amd64", "linux/arm64", "windows/amd64")

CODE = source("**", "!changelog/**", "!examples/**")
PROGRAMS = source("**", "!*.md", "!.*", "!changelog/**", "!docs/**", "!examples/**", "!sdk/python/tests/**", "!*.py")
LOCK = source("examples/python-service/requirements.lock")
GOCACHE = param("", env="GOCACHE", doc="build cache of Go to use; empty for none")
GOMODCACHE = param("", env="GOMODCACHE", doc="module cache of Go to use; empty for none")


@dataclass(frozen=True)
class Interpreter:
    """A Python of this machine."""

    version: str
    path: str


@dataclass(frozen=True)
class Python:
    """A Python of this machine, and the locked packages for it."""

    version: str
    path: str
    packages: Directory


# Go


@stage(timeout="20m")
async def vet(code: Directory = PROGRAMS, gocache: str = GOCACHE, gomodcache: str = GOMODCACHE) -> None:
    """Run go vet."""
    await _go("vet", "./...", tree=code, caches=(gocache, gomodcache))


@stage(timeout="20m")
async def golangci(code: Directory = CODE, gocache: str = GOCACHE, gomodcache: str = GOMODCACHE) -> None:
    """Run golangci-lint, which also holds the rules about who may import whom."""
    linter = await tool("golangci-lint")
    env = await _go_env((gocache, gomodcache))
    await run(linter, "run", tree=code, env=env)


@stage(timeout="30m")
async def go_test(code: Directory = CODE, gocache: str = GOCACHE, gomodcache: str = GOMODCACHE) -> TestReport:
    """Run the tests of the engine and of the Go SDK with the race detector."""
    done = await _go(
        *("test", "-race", "-json", "./..."),
        tree=code,
        caches=(gocache, gomodcache),
        wrapper=("sh", "-c", '"$@" >events.jsonl', "sh"),
        outputs=("events.jsonl",),
        ok=(0, 1),
    )
    tests = _tests(await done.file("events.jsonl").text())
    for test in tests:
        if test.outcome == "fail":
            log(test.output, "error", package=test.package, test=test.name)
    report = await TestReport.from_junit(await File.from_text("report.xml", _junit(tests)))
    if done.exit_code or report.failures:
        message = f"{report.failures} of {report.tests} tests failed"
        raise RuntimeError(message)
    return report


@stage(timeout="20m")
async def cross(
    code: Directory = PROGRAMS,
    gocache: str = GOCACHE,
    gomodcache: str = GOMODCACHE,
    platform: str = "",
) -> File:
    """Build tow for one platform."""
    system, _, architecture = platform.partition("/")
    name = "tow.exe" if system == "windows" else "tow"
    done = await _go(
        *("build", "-trimpath", "-buildvcs=false", "-o", name, "./cmd/tow"),
        tree=code,
        caches=(gocache, gomodcache),
        env={"CGO_ENABLED": "0", "GOOS": system, "GOARCH": architecture},
        outputs=(name,),
    )
    return done.file(name)


BUILDS = [cross.bind(platform=platform) for platform in PLATFORMS]


@stage
async def binaries(built: list[File] = gather(BUILDS)) -> Directory:
    """Put what was built into one folder for each platform."""
    names = (platform.replace("/", "-") for platform in PLATFORMS)
    return await Directory.of({f"{name}/{file.name}": file for name, file in zip(names, built, strict=True)})


@stage(timeout="20m")
async def example_go_service(
    code: Directory = PROGRAMS,
    example: Directory = source("examples/go-service"),
    gocache: str = GOCACHE,
    gomodcache: str = GOMODCACHE,
) -> None:
    """Check the example in Go, against the SDK of this tree."""
    language = next(line for line in (await (await code.file("go.mod")).text()).splitlines() if line.startswith("go "))
    work = await File.from_text("go.work", f"{language}\n\nuse (\n\t.\n\t./examples/go-service\n)\n")
    tree = await Directory.of({"": await _merged(code, example), "go.work": work})
    for command in ("vet", "test"):
        await _go(command, "./...", tree=tree, caches=(gocache, gomodcache), cwd="examples/go-service")


# Python


@stage
async def interpreters() -> list[Interpreter]:
    """Find the interpreters of this machine, at least the one that runs this pipeline."""
    found: dict[str, str] = {}
    for candidate in (sys.executable, *(f"python{version}" for version in PYTHONS)):
        try:
            path = candidate if candidate == sys.executable else await tool(candidate)
        except OperationError:
            continue
        # It may be a version manager's stand-in: ask for the interpreter behind it.
        version = candidate.removeprefix("python")
        asked = await run(
            *(path, "-c", "import pip, sys; print(*sys.version_info[:2], sep='.'); print(sys.executable)"),
            env={"PYENV_VERSION": version} if version in PYTHONS else {},
            ok="any",
        )
        if asked.exit_code == 0:
            version, path = (await asked.stdout.text()).splitlines()
            found.setdefault(version, path)
    return [Interpreter(version, path) for version, path in sorted(found.items())]


@stage(retry=2, timeout="10m")
async def packages(lock: Directory = LOCK, interpreter: Interpreter = each(out(interpreters))) -> Python:
    """Install the locked packages for one interpreter."""
    done = await run(
        *(interpreter.path, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--root-user-action"),
        *("ignore", "--no-cache-dir", "--no-compile", "--require-hashes", "--no-deps", "--only-binary", ":all:"),
        *("--target", "packages", "--requirement", "examples/python-service/requirements.lock"),
        tree=lock,
        outputs=["packages"],
    )
    return Python(interpreter.version, interpreter.path, done.directory("packages"))


@stage
def pythons(found: list[Python] = gather(packages)) -> list[Python]:
    """List the interpreters, each with its packages."""
    return found


@stage(timeout="20m")
async def sdk_test(
    code: Directory = source("protocol", "sdk/python"),
    python: Python = each(out(pythons)),
) -> TestReport:
    """Run the tests of the Python SDK on one interpreter."""
    done = await _python(
        python,
        *("-m", "pytest", "-p", "no:cacheprovider", "--junit-xml", "report.xml"),
        tree=code,
        cwd="sdk/python",
        outputs=("sdk/python/report.xml",),
    )
    return await TestReport.from_junit(done.file("sdk/python/report.xml"))


@stage(timeout="20m")
async def python_lint(
    code: Directory = source("sdk/python", "pipeline.py", "examples/python-service", "examples/upstream"),
    pythons: list[Python] = out(pythons),
) -> None:
    """Check style and types of the SDK, the examples and this pipeline."""
    python = pythons[0]
    for folder in ("sdk/python", "examples/python-service", "examples/upstream"):
        for command in (("check", "--no-cache", "."), ("format", "--no-cache", "--check", ".")):
            await _python(python, "-m", "ruff", *command, tree=code, cwd=folder)
    await asyncio.gather(
        _python(python, "-m", "mypy", tree=code, cwd="sdk/python"),
        _python(
            python,
            *("-m", "mypy", "src", "tests", "checks", "pipeline.py", "stages", "pipeline_tests"),
            tree=code,
            cwd="examples/python-service",
            mypy_path="src",
        ),
        _python(python, "-m", "mypy", ".", tree=code, cwd="examples/upstream"),
        _python(python, "-m", "mypy", "--strict", "pipeline.py", tree=code),
    )


@stage(timeout="20m")
async def example_python_service(
    code: Directory = source("sdk/python/src", "examples/python-service"),
    pythons: list[Python] = out(pythons),
) -> TestReport:
    """Run the tests of the example in Python, those of its pipeline too."""
    done = await _python(
        pythons[0],
        *("-m", "pytest", "-p", "no:cacheprovider", "--junit-xml", "report.xml", "tests", "pipeline_tests"),
        tree=code,
        cwd="examples/python-service",
        outputs=("examples/python-service/report.xml",),
    )
    return await TestReport.from_junit(done.file("examples/python-service/report.xml"))


@stage(timeout="20m")
async def example_upstream(
    code: Directory = source("sdk/python/src", "examples/upstream"),
    pythons: list[Python] = out(pythons),
) -> None:
    """Run the tests of the pipeline that tests other projects."""
    await _python(pythons[0], "-m", "pytest", "-p", "no:cacheprovider", tree=code, cwd="examples/upstream")


# How the stages run their tools


async def _go(
    *args: str,
    tree: Directory,
    caches: tuple[str, str],
    wrapper: tuple[str, ...] = (),
    cwd: str = "",
    env: dict[str, str] | None = None,
    outputs: tuple[str, ...] = (),
    ok: tuple[int, ...] = (0,),
) -> StepResult:
    go = await tool("go")
    variables = await _go_env(caches) | (env or {})
    return await run(*wrapper, go, *args, tree=tree, cwd=cwd, env=variables, outputs=outputs, ok=ok)


async def _go_env(caches: tuple[str, str]) -> dict[str, str]:
    """Return the variables that go needs, and that find it for programs which start it."""
    go = await tool("go")
    env = {
        "GOTOOLCHAIN": "local",
        "PATH": f"{go.rpartition('/')[0]}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "TOW_PYTHON": sys.executable,
    }
    return env | {name: path for name, path in zip(("GOCACHE", "GOMODCACHE"), caches, strict=True) if path}


async def _python(
    python: Python,
    *args: str,
    tree: Directory,
    cwd: str = "",
    mypy_path: str = "",
    outputs: tuple[str, ...] = (),
) -> StepResult:
    up = "/".join(".." for _ in filter(None, cwd.split("/"))) or "."
    sdk = f"{up}/sdk/python/src"
    return await run(
        *(python.path, *args),
        tree={"": tree, "packages": python.packages},
        cwd=cwd,
        env={
            "MYPYPATH": f"{mypy_path}:{sdk}".strip(":"),
            "PYTHONDONTWRITEBYTECODE": "1",
            "PYTHONPATH": f"{up}/packages:{sdk}:.",
        },
        outputs=outputs,
    )


async def _merged(*trees: Directory) -> Directory:
    merged, *others = trees
    for other in others:
        folders = await other.entries()
        contents = {entry.path: entry.value for entry in folders if entry.value is not None}
        merged = await Directory.of({"": merged, **contents})
    return merged


@dataclass(frozen=True)
class Test:
    """A test in Go, or a package that failed by itself."""

    package: str
    name: str
    outcome: str
    seconds: float
    output: str


def _tests(events: str) -> list[Test]:
    """Read what `go test -json` prints."""
    tests: list[Test] = []
    output: dict[tuple[str, str], str] = {}
    failed: set[str] = set()
    for event in map(json.loads, events.splitlines()):
        package, name, action = event.get("Package", ""), event.get("Test", ""), event["Action"]
        if action == "output":
            output[package, name] = output.get((package, name), "") + event["Output"]
        elif action == "build-output":
            output[event["ImportPath"], ""] = output.get((event["ImportPath"], ""), "") + event["Output"]
        elif action in ("fail", "skip", "pass") and (name or (action == "fail" and package not in failed)):
            if action == "fail":
                failed.add(package)
            text = output.get((event.get("FailedBuild", ""), ""), "") + output.get((package, name), "")
            tests.append(Test(package, name, action, event.get("Elapsed", 0), text))
    return tests


def _junit(tests: list[Test]) -> str:
    """Write JUnit XML."""
    cases: list[str] = []
    for test in tests:
        text = "".join(char for char in test.output if char.isprintable() or char == "\n")
        inside = {"fail": f"<failure message={quoteattr(text)}/>", "skip": "<skipped/>", "pass": ""}[test.outcome]
        attributes = f"classname={quoteattr(test.package)} name={quoteattr(test.name)} time='{test.seconds}'"
        cases.append(f"<testcase {attributes}>{inside}</testcase>")
    return f"<testsuite>{''.join(cases)}</testsuite>"


if __name__ == "__main__":
    main()
