"""Files and directories in memory, for the test kit."""

from __future__ import annotations

from binascii import a2b_base64, b2a_base64
from collections.abc import Mapping, Sequence
from hashlib import sha256
from typing import Any

from towpath import _values
from towpath._errors import OperationError
from towpath._glob import matcher
from towpath._values import MAX_ENTRIES, Directory, File, TestReport

Content = File | Directory
Params = Mapping[str, Any]


class Store:
    """Content by digest, and the operations on it. Digests are those that the engine gives."""

    def __init__(self) -> None:
        self._blobs: dict[str, bytes] = {}
        self._trees: dict[str, dict[str, File]] = {}
        self._begun: dict[int, bytearray] = {}
        self._last_blob = 0

    def file(self, name: str, content: bytes, *, executable: bool = False) -> File:
        """Store a file."""
        digest = _digest(content)
        self._blobs[digest] = content
        return File(digest=digest, executable=executable, name=name)

    def content(self, file: File) -> bytes:
        """Return the content of a file."""
        if file.digest not in self._blobs:
            raise _not_found(f"file {file.name!r} is not in this engine: make it with engine.file()")
        return self._blobs[file.digest]

    def directory(self, content: Mapping[str, Content]) -> Directory:
        """Store a directory."""
        files: dict[str, File] = {}
        for path, value in content.items():
            _check_path(path)
            inside = self.walk(value) if isinstance(value, Directory) else {"": value}
            for below, file in inside.items():
                _place(files, "/".join(filter(None, (path, below))), file)
        _check_tree(files)
        digest = _digest(_message(files))
        self._trees[digest] = dict(sorted(files.items()))
        return Directory(digest=digest)

    def walk(self, directory: Directory) -> dict[str, File]:
        """Return all files of a directory, by path."""
        if directory.digest not in self._trees:
            raise _not_found("the directory is not in this engine: make it with engine.directory()")
        return self._trees[directory.digest]

    def mounted(self, mounts: Sequence[Params]) -> Directory:
        """Store the directory of contents that are merged."""
        files: dict[str, File] = {}
        for mount in mounts:
            value = _values.decode(mount["value"])
            layer = self.directory({mount["path"]: value}) if isinstance(value, File | Directory) else None
            for path, file in self.walk(layer).items() if layer else ():
                _place(files, path, file)
        return self.directory(files)

    def entry(self, path: str, value: Content) -> dict[str, Any]:
        """Return the protocol's form of an entry."""
        kind = "file" if isinstance(value, File) else "directory"
        return {"path": path, "kind": kind, "value": _values.encode(value)}

    # Operations

    def read(self, params: Params) -> dict[str, Any]:
        """file.read."""
        content = self.content(_file(params["file"]))
        end = params["offset"] + params["length"]
        data = content[params["offset"] : end]
        return {"data": b2a_base64(data, newline=False).decode(), "eof": end >= len(content)}

    def begin(self, _params: Params) -> dict[str, Any]:
        """blob.begin."""
        self._last_blob += 1
        self._begun[self._last_blob] = bytearray()
        return {"blob": self._last_blob}

    def append(self, params: Params) -> dict[str, Any]:
        """blob.append."""
        self._begun[params["blob"]] += a2b_base64(params["data"])
        return {}

    def commit(self, params: Params) -> dict[str, Any]:
        """blob.commit."""
        content = bytes(self._begun.pop(params["blob"]))
        return {"value": _values.encode(self.file(params["name"], content, executable=params["executable"]))}

    def list(self, params: Params) -> dict[str, Any]:
        """directory.list."""
        directory = self._at(_directory(params["directory"]), params["path"])
        if not isinstance(directory, Directory):
            raise _not_found(f"{params['path']!r} is not a directory")
        files = self.walk(directory)
        paths = {path[:end] for path in files for end in _ends(path, recursive=params["recursive"])}
        later = sorted(path for path in paths if path > params["after"])
        page = [self.entry(path, self._at(directory, path)) for path in later[:MAX_ENTRIES]]
        return {"entries": page, "more": len(later) > MAX_ENTRIES}

    def get(self, params: Params) -> dict[str, Any]:
        """directory.get."""
        path = params["path"]
        return {"entry": self.entry(path, self._at(_directory(params["directory"]), path))}

    def make(self, params: Params) -> dict[str, Any]:
        """directory.make."""
        return {"value": _values.encode(self.mounted(params["mounts"]))}

    def filter(self, params: Params) -> dict[str, Any]:
        """directory.filter."""
        matches = matcher(params["globs"])
        files = self.walk(_directory(params["directory"]))
        return {"value": _values.encode(self.directory({path: files[path] for path in files if matches(path)}))}

    def report(self, params: Params) -> dict[str, Any]:
        """report.parse."""
        from xml.etree.ElementTree import ParseError, fromstring

        junit = _file(params["junit"])
        try:
            root = fromstring(self.content(junit))  # noqa: S314 - the test wrote it
        except ParseError as error:
            raise OperationError(f"{junit.name!r} is not JUnit XML: {error}", code="invalid") from None
        cases = list(root.iter("testcase"))
        report = TestReport(
            errors=sum(case.find("error") is not None for case in cases),
            failures=sum(case.find("failure") is not None for case in cases),
            junit=junit,
            skipped=sum(case.find("skipped") is not None for case in cases),
            tests=len(cases),
            time_ms=round(1000 * sum(float(case.get("time") or 0) for case in cases)),
        )
        return {"value": _values.encode(report)}

    def _at(self, directory: Directory, path: str) -> Content:
        _check_path(path)
        if not path:
            return directory
        files = self.walk(directory)
        if path in files:
            return files[path]
        below = {name[len(path) + 1 :]: file for name, file in files.items() if is_below(name, path)}
        if not below:
            raise _not_found(f"there is no {path!r} in the directory")
        return self.directory(below)


def is_below(path: str, folder: str) -> bool:
    """Tell whether a path is below a folder."""
    return path.startswith(folder.rstrip("/") + "/")


def _ends(path: str, *, recursive: bool) -> Sequence[int]:
    """Return where the paths end that a listing shows for the file at `path`."""
    ends = [index for index, character in enumerate(path) if character == "/"] + [len(path)]
    return ends if recursive else ends[:1]


def _place(files: dict[str, File], path: str, file: File) -> None:
    other = files.setdefault(path, file)
    if (other.digest, other.executable) != (file.digest, file.executable):
        raise _conflict(path)


def _check_tree(files: Mapping[str, File]) -> None:
    """Refuse a path that is both a file and a folder."""
    for path in files:
        for end in _ends(path, recursive=True)[:-1]:
            if path[:end] in files:
                raise _conflict(path[:end])


def _conflict(path: str) -> OperationError:
    return OperationError(f"two different contents meet at {path!r}", code="invalid")


def _check_path(path: str) -> None:
    if path and any(part in ("", ".", "..") for part in path.split("/")):
        raise OperationError(f"{path!r} is not a relative path without empty parts, `.` and `..`", code="invalid")


def _file(value: Any) -> File:
    file = _values.decode(value)
    if not isinstance(file, File):
        raise OperationError("not a file", code="invalid")
    return file


def _directory(value: Any) -> Directory:
    directory = _values.decode(value)
    if not isinstance(directory, Directory):
        raise OperationError("not a directory", code="invalid")
    return directory


def _not_found(message: str) -> OperationError:
    return OperationError(message, code="not_found")


# The Directory message of the Remote Execution API, whose digest is that of the directory.


def _digest(content: bytes) -> str:
    return f"{sha256(content).hexdigest()}/{len(content)}"


def _message(files: Mapping[str, File]) -> bytes:
    plain = {path: file for path, file in files.items() if "/" not in path}
    folders: dict[str, dict[str, File]] = {}
    for path, file in files.items():
        if path not in plain:
            name, _, rest = path.partition("/")
            folders.setdefault(name, {})[rest] = file
    nodes = []
    for name in sorted(plain):
        executable = b"\x20\x01" if plain[name].executable else b""
        nodes.append(_field(1, _field(1, name.encode()) + _digest_field(plain[name].digest) + executable))
    for name in sorted(folders):
        digest = _digest(_message(folders[name]))
        nodes.append(_field(2, _field(1, name.encode()) + _digest_field(digest)))
    return b"".join(nodes)


def _digest_field(digest: str) -> bytes:
    name, _, size = digest.partition("/")
    return _field(2, _field(1, name.encode()) + (b"\x10" + _varint(int(size)) if int(size) else b""))


def _field(number: int, content: bytes) -> bytes:
    return _varint(number << 3 | 2) + _varint(len(content)) + content


def _varint(value: int) -> bytes:
    result = bytearray()
    while value > 0x7F:  # noqa: PLR2004 - seven bits a byte
        result.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*result, value])
