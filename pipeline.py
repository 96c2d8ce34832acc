"""Towpath's own checks: `tow run`.

Steps see what their stages give them and nothing else. Two stages use the network, to fetch what lock files name; one
compiles what our packages import. All others work with what these have made.
"""

import asyncio
import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from glob import glob
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

MODULE = "github.com/towpath/towpath"
PYTHONS = ("3.11", "3.12", "3.13", "3.14")
PLATFORMS = ("darwin/arm64", "linux/amd64", "linux/arm64", "windows/amd64")

CODE = source("**", "!changelog/**", "!examples/**")
PROGRAMS = source("**", "!*.md", "!.*", "!changelog/**", "!docs/**", "!examples/**", "!sdk/python/tests/**", "!*.py")
GO_CODE = source("go.mod", "go.sum", "**/*.go", "!examples/**")
GO_SDK = source("go.mod", "*.go", "protocol/*.go", "internal/sdk", "towpathtest", "!**/*_test.go")
LOCK = source("examples/python-service/requirements.lock")

GOPROXY = param("", env="GOPROXY", doc="where modules of Go come from; empty for where they usually do")
INDEX = param("", env="PIP_INDEX_URL", doc="where packages of Python come from; empty for where they usually do")
CERTIFICATES = param(
    "", env="SSL_CERT_FILE", doc="file of the certificates to trust there; empty for those of the machine"
)


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


@stage(retry=2, timeout="20m")
async def go_modules(
    lock: Directory = source("go.mod", "go.sum"),
    goproxy: str = GOPROXY,
    certificates: str = CERTIFICATES,
) -> Directory:
    """Download the modules that go.mod names."""
    done = await _go(
        *("mod", "download"),
        tree=lock,
        wrapper=("sh", "-c", _AND_LEAVE_OUT_WHAT_IS_NOT_COMPILED, "sh"),
        mounts=await _trusted(certificates),
        env={
            "GOFLAGS": "-modcacherw",
            "GOPROXY": goproxy,
            "SSL_CERT_FILE": "../certificates.pem" if certificates else "",
        },
        outputs=("go/modules",),
        network=True,
    )
    return done.directory("go/modules")


@stage(timeout="30m")
async def go_cache(code: Directory = GO_CODE, modules: Directory = out(go_modules)) -> Directory:
    """Compile what our packages import, so that the other stages compile our packages alone."""
    imports = '{{join .Imports " "}} {{join .TestImports " "}} {{join .XTestImports " "}}'
    return await _compiled(
        code,
        modules,
        imports=imports,
        packages="./...",
        script="go vet . && go build -trimpath . && go test . && go test -race .",
    )


@stage(timeout="20m")
async def vet(
    code: Directory = PROGRAMS, modules: Directory = out(go_modules), cache: Directory = out(go_cache)
) -> None:
    """Run go vet."""
    await _go("vet", "./...", tree=code, mounts={"go/modules": modules, "go/cache": cache})


@stage(timeout="20m")
async def golangci(
    code: Directory = CODE, modules: Directory = out(go_modules), cache: Directory = out(go_cache)
) -> None:
    """Run golangci-lint, which also holds the rules about who may import whom."""
    linter = await tool("golangci-lint")
    await _go("run", tree=code, mounts={"go/modules": modules, "go/cache": cache}, program=linter)


@stage(timeout="30m")
async def go_test(
    code: Directory = CODE, modules: Directory = out(go_modules), cache: Directory = out(go_cache)
) -> TestReport:
    """Run the tests of the engine and of the Go SDK with the race detector."""
    # What makes sandboxes or gives files to other users may do less inside of a sandbox: `make test` tests it outside.
    machine = "/internal/(sandbox|checkout|executor/local(/escapetest)?)$"
    done = await _go(
        *("test", "-race", "-json"),
        tree=code,
        mounts={"go/modules": modules, "go/cache": cache},
        wrapper=("sh", "-c", 'all=$("$1" list ./...) && "$@" $(echo "$all" | grep -vE "$0") >events.jsonl', machine),
        env={"TOW_PYTHON": await tool(sys.executable)},
        outputs=("src/events.jsonl",),
        ok=(0, 1),
    )
    tests = _tests(await done.file("src/events.jsonl").text())
    for test in tests:
        if test.outcome == "fail":
            log(test.output, "error", package=test.package, test=test.name)
    report = await TestReport.from_junit(await File.from_text("report.xml", _junit(tests)))
    if done.exit_code or report.failures:
        message = f"{report.failures} of {report.tests} tests failed"
        raise RuntimeError(message)
    return report


@stage(timeout="20m")
async def cross(code: Directory = PROGRAMS, modules: Directory = out(go_modules), platform: str = "") -> File:
    """Build tow for one platform."""
    system, _, architecture = platform.partition("/")
    env = {"CGO_ENABLED": "0", "GOOS": system, "GOARCH": architecture}
    name = "tow.exe" if system == "windows" else "tow"
    cache = await _compiled(
        code, modules, imports='{{join .Imports " "}}', packages="./cmd/tow", script="go build -trimpath .", env=env
    )
    done = await _go(
        *("build", "-trimpath", "-buildvcs=false", "-o", name, "./cmd/tow"),
        tree=code,
        mounts={"go/modules": modules, "go/cache": cache},
        env=env,
        outputs=(f"src/{name}",),
    )
    return done.file(f"src/{name}")


BUILDS = [cross.bind(platform=platform) for platform in PLATFORMS]


@stage
async def binaries(built: list[File] = gather(BUILDS)) -> Directory:
    """Put what was built into one folder for each platform."""
    names = (platform.replace("/", "-") for platform in PLATFORMS)
    return await Directory.of({f"{name}/{file.name}": file for name, file in zip(names, built, strict=True)})


@stage(timeout="20m")
async def example_go_service(
    sdk: Directory = GO_SDK,
    example: Directory = source("examples/go-service"),
    cache: Directory = out(go_cache),
) -> None:
    """Check the example in Go, against the SDK of this tree, which needs no other module."""
    lines = (await (await sdk.file("go.mod")).text()).splitlines()
    language = next(line for line in lines if line.startswith("go "))
    code: dict[str, Directory | File] = {
        "": await sdk.filter("**", "!go.mod"),
        "go.mod": await File.from_text("go.mod", f"module {MODULE}\n\n{language}\n"),
        "go.work": await File.from_text("go.work", f"{language}\n\nuse (\n\t.\n\t./service\n)\n"),
        "service": await example.directory("examples/go-service"),
    }
    tree = await Directory.of(code)
    for command in ("vet", "test"):
        await _go(command, "./...", tree=tree, mounts={"go/cache": cache}, cwd="service")


# Python


@stage
async def interpreters() -> list[Interpreter]:
    """Find the interpreters of this machine, at least the one that runs this pipeline."""
    found: dict[str, str] = {}
    for candidate in (sys.executable, *(f"python{version}" for version in PYTHONS)):
        try:
            path = await tool(_behind(await tool(candidate)))
        except OperationError:
            continue
        asked = await run(
            *(path, "-c", "import pip, sys; print(*sys.version_info[:2], sep='.'); print(sys.executable)"),
            ok="any",
        )
        if asked.exit_code == 0:
            version, path = (await asked.stdout.text()).splitlines()
            found.setdefault(version, path)
    return [Interpreter(version, path) for version, path in sorted(found.items())]


@stage(retry=2, timeout="10m")
async def packages(
    lock: Directory = LOCK,
    interpreter: Interpreter = each(out(interpreters)),
    index: str = INDEX,
    certificates: str = CERTIFICATES,
) -> Python:
    """Install the locked packages for one interpreter."""
    env = {"PIP_INDEX_URL": index, "PIP_CERT": "certificates.pem" if certificates else ""}
    done = await run(
        *(interpreter.path, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--root-user-action"),
        *("ignore", "--no-cache-dir", "--no-compile", "--require-hashes", "--no-deps", "--only-binary", ":all:"),
        *("--target", "packages", "--requirement", "examples/python-service/requirements.lock"),
        tree={"": lock, **await _trusted(certificates)},
        env={name: value for name, value in env.items() if value},
        outputs=["packages"],
        network=True,
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

# The cache drops what was not used for days, by the times of files. They say nothing here: tell it that it was done.
_IN_GO = " && ".join(
    [
        'top=$(cd "$1" && pwd) && shift',
        'export GOCACHE="$top/go/cache" GOMODCACHE="$top/go/modules"',
        'mkdir -p "$GOCACHE" && date +%s >"$GOCACHE/trim.txt"',
        'exec "$@"',
    ]
)

_AND_LEAVE_OUT_WHAT_IS_NOT_COMPILED = " && ".join(
    [
        '"$@" && cd "$GOMODCACHE" && rm -rf cache/vcs cache/lock',
        "find . -name testdata -prune -exec rm -rf {} +",
        'find . "(" -name "*_test.go" -o -name "*.zip" ")" -delete',
    ]
)


async def _go(
    *args: str,
    tree: Directory,
    mounts: Mapping[str, Directory | File],
    program: str = "",
    wrapper: tuple[str, ...] = (),
    cwd: str = "",
    env: Mapping[str, str] | None = None,
    outputs: tuple[str, ...] = (),
    ok: tuple[int, ...] = (0,),
    network: bool = False,
) -> StepResult:
    """Run a command of go, or another program that starts go, on a tree in the folder `src`."""
    go = await tool("go")
    variables = {
        "GOPROXY": "off",
        "GOTOOLCHAIN": "local",
        "PATH": f"{go.rpartition('/')[0]}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        **(env or {}),
    }
    folder = f"src/{cwd}".rstrip("/")
    return await run(
        *("sh", "-c", _IN_GO, "sh", _up(folder), *wrapper, program or go, *args),
        tree={"src": tree, **mounts},
        cwd=folder,
        env={name: value for name, value in variables.items() if value},
        outputs=outputs,
        ok=ok,
        network=network,
    )


async def _compiled(
    code: Directory,
    modules: Directory,
    *,
    imports: str,
    packages: str,
    script: str,
    env: Mapping[str, str] | None = None,
) -> Directory:
    """Compile what packages of ours import, and return the cache of Go with it.

    The second step knows nothing of our code but the names that it imports, and so it is seldom run.
    """
    ours = f"{{{{with .Module}}}}{{{{if .Main}}}}{{{{with $}}}}{imports}{{{{end}}}}{{{{end}}}}{{{{end}}}}"
    listed = await _go(
        *("list", "-e", "-deps", "-f", ours, packages),
        tree=code,
        mounts={"go/modules": modules},
        wrapper=("sh", "-c", '"$@" >imports.txt', "sh"),
        env=env,
        outputs=("src/imports.txt",),
    )
    names = {
        name
        for name in (await listed.file("src/imports.txt").text()).split()
        if name != "C" and not f"{name}/".startswith(f"{MODULE}/")
    }
    blank = "".join(f"import _ {json.dumps(name)}\n" for name in sorted(names))
    test = 'package all\n\nimport "testing"\n\nfunc Test(*testing.T) {}\n'
    program = {
        "go.mod": await code.file("go.mod"),
        "go.sum": await code.file("go.sum"),
        "all.go": await File.from_text("all.go", f"package all\n\n{blank}"),
        "all_test.go": await File.from_text("all_test.go", test),
    }
    done = await _go(
        *("-c", script),
        tree=await Directory.of(program),
        mounts={"go/modules": modules},
        program="sh",
        env=env,
        outputs=("go/cache",),
    )
    return done.directory("go/cache")


async def _trusted(certificates: str) -> dict[str, File]:
    """Return the file of certificates that a step which uses the network is to trust, by its path in the workspace."""
    return {"certificates.pem": await File.from_path(certificates)} if certificates else {}


def _up(folder: str) -> str:
    """Return the way from a folder of the workspace to its top."""
    return "/".join(".." for _ in filter(None, folder.split("/"))) or "."


async def _python(
    python: Python,
    *args: str,
    tree: Directory,
    cwd: str = "",
    mypy_path: str = "",
    outputs: tuple[str, ...] = (),
) -> StepResult:
    up = _up(cwd)
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


def _behind(path: str) -> str:
    """Return the interpreter itself where `path` is a version manager's script, which needs more than a step sees."""
    folder, _, name = path.rpartition("/")
    version = name.removeprefix("python")
    found = glob(f"{folder.removesuffix('shims')}versions/{version}.*/bin/{name}") if folder.endswith("/shims") else []
    return max(found, key=lambda found: (len(found), found), default=path)


MAX_OUTPUT = 64 << 10
"""How many characters of what a failed test printed are kept."""


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
    output: dict[tuple[str, str], list[str]] = {}
    failed: set[str] = set()
    for event in map(json.loads, events.splitlines()):
        package, name, action = event.get("Package", ""), event.get("Test", ""), event["Action"]
        if action == "output":
            output.setdefault((package, name), []).append(event["Output"])
        elif action == "build-output":
            output.setdefault((event["ImportPath"], ""), []).append(event["Output"])
        elif action in ("fail", "skip", "pass"):
            lines = output.pop((event.get("FailedBuild", ""), ""), []) + output.pop((package, name), [])
            if not name and (action != "fail" or package in failed):
                continue
            if action == "fail":
                failed.add(package)
            text = "".join(lines)[-MAX_OUTPUT:] if action == "fail" else ""
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
