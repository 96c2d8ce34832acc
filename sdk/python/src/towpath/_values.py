"""The values that stages take and return."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from typing import Any, Literal, NoReturn, TypeVar, dataclass_transform

from towpath._errors import OperationError
from towpath._pending import Ask, Pending

TYPE_CHECKING = False
if TYPE_CHECKING:
    import os

    from towpath._pending import Steps

T = TypeVar("T")

MAX_NAME_BYTES = 255
CHUNK = 1 << 20
HASH_LENGTH = 64
MAX_ENTRIES = 10_000


@dataclass_transform(frozen_default=True)
class Value:
    """An immutable record; what `dataclasses` would make of it, without the cost of importing that."""

    __slots__: tuple[str, ...] = ()

    def __init__(self, *args: object, **kwargs: object) -> None:
        names = self.__slots__
        given = dict(zip(names, args, strict=False), **kwargs)
        if len(args) + len(kwargs) != len(names) or given.keys() != set(names):
            message = f"{type(self).__name__} takes exactly the arguments {', '.join(names)}"
            raise TypeError(message)
        for name in names:
            object.__setattr__(self, name, given[name])

    def _fields(self) -> tuple[object, ...]:
        return tuple(getattr(self, name) for name in self.__slots__)

    def __repr__(self) -> str:
        """Return the call that makes this value."""
        fields = ", ".join(f"{name}={getattr(self, name)!r}" for name in self.__slots__)
        return f"{type(self).__name__}({fields})"

    def __eq__(self, other: object) -> bool:
        """Compare by content."""
        if type(other) is not type(self):
            return NotImplemented
        return self._fields() == other._fields()

    def __hash__(self) -> int:
        """Hash by content."""
        return hash((type(self), self._fields()))

    def __setattr__(self, name: str, value: object) -> NoReturn:
        """Refuse: values are immutable."""
        message = f"{type(self).__name__} is immutable"
        raise AttributeError(message)

    def __delattr__(self, name: str) -> NoReturn:
        """Refuse: values are immutable."""
        message = f"{type(self).__name__} is immutable"
        raise AttributeError(message)

    def __reduce__(self) -> tuple[type, tuple[object, ...]]:
        """Support copy and pickle."""
        return type(self), self._fields()


class File(Value):
    """An immutable file of the engine's store.

    Attributes:
        digest: The SHA-256 of the content in hexadecimal, `/`, and the size in bytes.
        executable: Whether it may be executed.
        name: Its file name, without a folder.
    """

    __slots__ = ("digest", "executable", "name")

    digest: str
    executable: bool
    name: str

    @property
    def size(self) -> int:
        """The size in bytes."""
        return int(self.digest.rpartition("/")[2])

    def text(self, encoding: str = "utf-8") -> Pending[str]:
        """Read the whole file as text.

        Raises:
            OperationError: The file is not in the store any more.
            UnicodeDecodeError: The content is not text in `encoding`.
        """

        def steps() -> Steps[str]:
            return (yield from _read_all(self)).decode(encoding)

        return Pending("File.text()", steps())

    def content(self) -> Pending[bytes]:
        """Read the whole file; for a large one use `chunks`.

        Raises:
            OperationError: The file is not in the store any more.
        """
        return Pending("File.content()", _read_all(self))

    def read(self, offset: int, length: int) -> Pending[bytes]:
        """Read up to `length` bytes from `offset` on; fewer at the end of the file.

        Raises:
            ValueError: A negative offset or length.
            OperationError: The file is not in the store any more.
        """
        if offset < 0 or length < 0:
            message = f"offset and length cannot be negative: {offset}, {length}"
            raise ValueError(message)
        return Pending(f"File.read({offset}, {length})", _read(self, offset, length))

    def chunks(self) -> Chunks:
        """Iterate over the content in pieces of at most 1 MiB: `async for` in async code, `for` in synchronous stages."""
        return Chunks(self)

    def download(self, path: str | os.PathLike[str]) -> Pending[None]:
        """Write the file to `path` on this machine; an existing file is replaced.

        Raises:
            OSError: It cannot be written.
            OperationError: The file is not in the store any more.
        """
        return Pending(f"File.download({str(path)!r})", _download(self, path))

    @classmethod
    def from_bytes(cls, name: str, content: bytes, *, executable: bool = False) -> Pending[File]:
        """Store `content` as a file called `name`."""
        pieces = (content[start : start + CHUNK] for start in range(0, len(content), CHUNK))
        return Pending(f"File.from_bytes({name!r})", _store(name, pieces, executable=executable))

    @classmethod
    def from_text(cls, name: str, content: str, *, executable: bool = False) -> Pending[File]:
        """Store `content` in UTF-8 as a file called `name`."""
        data = content.encode()
        pieces = (data[start : start + CHUNK] for start in range(0, len(data), CHUNK))
        return Pending(f"File.from_text({name!r})", _store(name, pieces, executable=executable))

    @classmethod
    def from_path(cls, path: str | os.PathLike[str], name: str | None = None) -> Pending[File]:
        """Store the file at `path` on this machine, under its own name or `name`; its executable bit is kept.

        Raises:
            OSError: It cannot be read.
        """
        return Pending(f"File.from_path({str(path)!r})", _upload(path, name))


class Chunks:
    """The content of a file, piece by piece."""

    __slots__ = ("_file",)

    def __init__(self, file: File) -> None:
        self._file = file

    def _next(self, offset: int) -> Pending[tuple[bytes, bool]]:
        return Pending("File.chunks()", _read_once(self._file, offset, CHUNK))

    def __iter__(self) -> Iterator[bytes]:
        """Iterate in a synchronous stage."""
        offset, eof = 0, False
        while not eof:
            data, eof = self._next(offset).wait()
            offset += len(data)
            if data:
                yield data

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """Iterate in async code."""
        offset, eof = 0, False
        while not eof:
            data, eof = await self._next(offset)
            offset += len(data)
            if data:
                yield data


class Directory(Value):
    """An immutable directory of the engine's store.

    Attributes:
        digest: The SHA-256 of its Remote Execution API `Directory` message in hexadecimal, `/`, and that message's size in bytes.
    """

    __slots__ = ("digest",)

    digest: str

    def entries(self, path: str = "", *, recursive: bool = False) -> Pending[list[Entry]]:
        """List the folder `path` of this directory, sorted by path; with `recursive` everything below it.

        Raises:
            OperationError: There is no such folder.
        """
        return Pending(f"Directory.entries({path!r})", _entries(self, path, recursive=recursive))

    def file(self, path: str) -> Pending[File]:
        """Return the file at `path`.

        Raises:
            OperationError: There is none, or it is no file.
        """

        def steps() -> Steps[File]:
            entry = yield from _get(self, path)
            return _as_file(entry.value, path)

        return Pending(f"Directory.file({path!r})", steps())

    def directory(self, path: str) -> Pending[Directory]:
        """Return the folder at `path`.

        Raises:
            OperationError: There is none, or it is no folder.
        """

        def steps() -> Steps[Directory]:
            entry = yield from _get(self, path)
            return _as_directory(entry.value, path)

        return Pending(f"Directory.directory({path!r})", steps())

    def filter(self, *globs: str) -> Pending[Directory]:
        """Return the directory of the paths that match one of `globs`, which are written as in `source`."""

        def steps() -> Steps[Directory]:
            params = {"directory": encode(self), "globs": list(globs)}
            return (yield from ask("directory.filter", params, _directory))

        return Pending("Directory.filter()", steps())

    @classmethod
    def of(cls, content: Mapping[str, File | Directory]) -> Pending[Directory]:
        """Make a directory of files and directories, each at a path; the path `""` takes a directory and stands for the root.

        Raises:
            OperationError: A path is wrong, or two contents meet at one path.
        """

        def steps() -> Steps[Directory]:
            return (yield from ask("directory.make", {"mounts": mounts(content)}, _directory))

        return Pending("Directory.of()", steps())


class TestReport(Value):
    """The outcome of a test run.

    Attributes:
        junit: The JUnit XML file that it was read from.
        tests: How many tests there were.
        failures: How many failed.
        errors: How many ended with an error.
        skipped: How many were skipped.
        time_ms: How long they took, in milliseconds.
    """

    __slots__ = ("errors", "failures", "junit", "skipped", "tests", "time_ms")
    __test__ = False  # pytest would take the name for a test class

    errors: int
    failures: int
    junit: File
    skipped: int
    tests: int
    time_ms: int

    @property
    def passed(self) -> bool:
        """Whether no test failed or ended with an error."""
        return not self.failures and not self.errors

    @classmethod
    def from_junit(cls, file: File) -> Pending[TestReport]:
        """Read a report from a JUnit XML file.

        Raises:
            OperationError: The file is no JUnit XML.
        """

        def steps() -> Steps[TestReport]:
            return (yield from ask("report.parse", {"junit": encode(file)}, _report))

        return Pending("TestReport.from_junit()", steps())


class Secret(Value):
    """A handle of a secret; never its value.

    Attributes:
        name: The name under which the engine knows it.
    """

    __slots__ = ("name",)

    name: str


class Entry(Value):
    """One path of a directory, or one output of a step.

    Attributes:
        path: Relative to the folder that was listed, with `/`.
        kind: `file`, `directory` or `symlink`.
        value: The file or directory; None for a symlink.
        target: Where a symlink points; None for the others.
    """

    __slots__ = ("kind", "path", "target", "value")

    kind: Literal["file", "directory", "symlink"]
    path: str
    target: str | None
    value: File | Directory | None


class StepResult(Value):
    """What a step left behind.

    Attributes:
        exit_code: The exit code of the command; one of those that were accepted.
        cached: Whether the result was taken from the cache.
        stdout: The standard output.
        stderr: The standard error.
        outputs: One entry for each path that the declared outputs matched.
        tree: The directory of all outputs.
    """

    __slots__ = ("cached", "exit_code", "outputs", "stderr", "stdout", "tree")

    cached: bool
    exit_code: int
    outputs: tuple[Entry, ...]
    stderr: File
    stdout: File
    tree: Directory

    def file(self, path: str) -> File:
        """Return the output file at `path`.

        Raises:
            OperationError: No declared output has that path, or it is no file.
        """
        return _as_file(self._output(path), path)

    def directory(self, path: str) -> Directory:
        """Return the output folder at `path`.

        Raises:
            OperationError: No declared output has that path, or it is no folder.
        """
        return _as_directory(self._output(path), path)

    def files(self, glob: str = "**") -> list[File]:
        """Return the output files whose paths match `glob`, sorted by path."""
        from towpath._glob import matcher

        matches = matcher((glob,))
        return [entry.value for entry in self.outputs if isinstance(entry.value, File) and matches(entry.path)]

    def _output(self, path: str) -> File | Directory | None:
        for entry in self.outputs:
            if entry.path == path:
                return entry.value
        message = f"the step has no output {path!r}, only {[entry.path for entry in self.outputs]}"
        hint = "name it in `outputs`, or read what is below an output folder with `tree.file(path)`"
        raise OperationError(message, code="not_found", hint=hint)


def encode(value: File | Directory | TestReport | Secret) -> dict[str, Any]:
    """Return the protocol's form of a value."""
    match value:
        case File():
            return {"$file": {"digest": value.digest, "executable": value.executable, "name": value.name}}
        case Directory():
            return {"$directory": {"digest": value.digest}}
        case Secret():
            return {"$secret": {"name": value.name}}
        case TestReport():
            report: dict[str, Any] = {name: getattr(value, name) for name in TestReport.__slots__}
            report["junit"] = encode(value.junit)
            return {"$test_report": report}


def decode(value: Any) -> File | Directory | TestReport | Secret:
    """Return the value of the protocol's form.

    Raises:
        ValueError: It is no such form.
    """
    if isinstance(value, dict) and len(value) == 1:
        match value:
            case {"$file": {"digest": str(digest), "executable": bool(executable), "name": str(name)}}:
                return File(digest=_digest(digest), executable=executable, name=name)
            case {"$directory": {"digest": str(digest)}}:
                return Directory(digest=_digest(digest))
            case {"$secret": {"name": str(name)}}:
                return Secret(name=name)
            case {"$test_report": {"junit": {"$file": _} as junit, **counts}} if _are_counts(counts):
                numbers: dict[str, Any] = {str(name): count for name, count in counts.items()}
                return TestReport(junit=_as_file(decode(junit), "junit"), **numbers)
    message = "not a file, directory, test report or secret"
    raise ValueError(message)


_COUNTS = ("errors", "failures", "skipped", "tests", "time_ms")


def _are_counts(counts: Mapping[Any, Any]) -> bool:
    return counts.keys() == set(_COUNTS) and all(type(count) is int for count in counts.values())


def _digest(text: str) -> str:
    name, _, size = text.partition("/")
    if len(name) == HASH_LENGTH and not name.strip("0123456789abcdef") and size.isascii() and size.isdecimal():
        return text
    message = f"{text!r} is not a digest"
    raise ValueError(message)


def mounts(content: Mapping[str, File | Directory]) -> list[dict[str, Any]]:
    """Return the protocol's form of contents at paths."""
    result = []
    for path, value in content.items():
        if not isinstance(path, str) or not isinstance(value, File | Directory):
            message = f"a directory is made of paths with a File or a Directory each, not of {path!r}: {value!r}"
            raise TypeError(message)
        result.append({"path": path, "value": encode(value)})
    return result


def step_result(answer: Mapping[str, Any]) -> StepResult:
    """Read the answer of `step.run`."""
    return StepResult(
        cached=answer["cached"],
        exit_code=answer["exit_code"],
        outputs=tuple(_entry(entry) for entry in answer["outputs"]),
        stderr=_as_file(decode(answer["stderr"]), "stderr"),
        stdout=_as_file(decode(answer["stdout"]), "stdout"),
        tree=_as_directory(decode(answer["tree"]), "tree"),
    )


def ask(method: str, params: dict[str, Any], read: Callable[[Mapping[str, Any]], T]) -> Steps[T]:
    """Send one request, and return what `read` makes of the answer."""
    answer = yield Ask(method, params)
    try:
        return read(answer)
    except (KeyError, TypeError, ValueError, OperationError) as error:
        message = f"the engine's answer to {method} is malformed: {type(error).__name__}: {error}"
        raise OperationError(message, code="internal") from None


def _directory(answer: Mapping[str, Any]) -> Directory:
    return _as_directory(decode(answer["value"]), "value")


def _report(answer: Mapping[str, Any]) -> TestReport:
    report = decode(answer["value"])
    if not isinstance(report, TestReport):
        raise TypeError("not a test report")
    return report


def _page(answer: Mapping[str, Any]) -> tuple[list[Entry], bool]:
    page, more = [_entry(entry) for entry in answer["entries"]], bool(answer["more"])
    if more and not page:
        raise ValueError("no entries, and more of them")
    return page, more


def _entry(answer: Mapping[str, Any]) -> Entry:
    value = decode(answer["value"]) if "value" in answer else None
    if isinstance(value, TestReport | Secret):
        raise TypeError("an entry is a file or a directory")
    return Entry(kind=answer["kind"], path=answer["path"], target=answer.get("target"), value=value)


def _as_file(value: object, path: str) -> File:
    if isinstance(value, File):
        return value
    raise OperationError(f"{path!r} is not a file", code="not_found")


def _as_directory(value: object, path: str) -> Directory:
    if isinstance(value, Directory):
        return value
    raise OperationError(f"{path!r} is not a directory", code="not_found")


def _get(directory: Directory, path: str) -> Steps[Entry]:
    params = {"directory": encode(directory), "path": path}
    return (yield from ask("directory.get", params, lambda answer: _entry(answer["entry"])))


def _entries(directory: Directory, path: str, *, recursive: bool) -> Steps[list[Entry]]:
    entries: list[Entry] = []
    more = True
    while more:
        after = entries[-1].path if entries else ""
        params = {"directory": encode(directory), "path": path, "recursive": recursive, "after": after}
        page, more = yield from ask("directory.list", params, _page)
        entries += page
    return entries


def _read_once(file: File, offset: int, length: int) -> Steps[tuple[bytes, bool]]:
    params = {"file": encode(file), "offset": offset, "length": length}
    return (yield from ask("file.read", params, _data))


def _data(answer: Mapping[str, Any]) -> tuple[bytes, bool]:
    from binascii import a2b_base64

    data, eof = a2b_base64(answer["data"]), bool(answer["eof"])
    if not data and not eof:
        raise ValueError("no data, and more of it")
    return data, eof


def _read(file: File, offset: int, length: int) -> Steps[bytes]:
    pieces: list[bytes] = []
    eof = False
    while length > 0 and not eof:
        data, eof = yield from _read_once(file, offset, min(length, CHUNK))
        pieces.append(data)
        offset += len(data)
        length -= len(data)
    return b"".join(pieces)


def _read_all(file: File) -> Steps[bytes]:
    data = yield from _read(file, 0, file.size)
    if len(data) != file.size:
        message = f"file {file.name!r} has {file.size} bytes, but {len(data)} could be read"
        raise OperationError(message, code="internal")
    return data


def _download(file: File, path: str | os.PathLike[str]) -> Steps[None]:
    with open(path, "wb") as target:
        offset, eof = 0, False
        while not eof:
            data, eof = yield from _read_once(file, offset, CHUNK)
            target.write(data)
            offset += len(data)
    if file.executable:
        import os

        os.chmod(path, os.stat(path).st_mode | 0o111)  # noqa: S103 - the umask has had its say


def _store(name: str, pieces: Iterator[bytes], *, executable: bool) -> Steps[File]:
    from binascii import b2a_base64

    if len(name.encode("utf-8", "surrogatepass")) > MAX_NAME_BYTES:
        message = f"a file name has at most {MAX_NAME_BYTES} bytes: {name[:20]!r}… has more"
        raise ValueError(message)
    blob = yield from ask("blob.begin", {}, lambda answer: int(answer["blob"]))
    for piece in pieces:
        yield Ask("blob.append", {"blob": blob, "data": b2a_base64(piece, newline=False).decode("ascii")})
    params = {"blob": blob, "name": name, "executable": executable}
    return (yield from ask("blob.commit", params, lambda answer: _as_file(decode(answer["value"]), name)))


def _upload(path: str | os.PathLike[str], name: str | None) -> Steps[File]:
    import os

    with open(path, "rb") as source:
        executable = bool(os.fstat(source.fileno()).st_mode & 0o100)
        pieces = iter(lambda: source.read(CHUNK), b"")
        return (yield from _store(name or os.path.basename(path), pieces, executable=executable))
