"""What a program is made of: the files that it reads and the folders that it lists, seen by an audit hook.

The hook notes names, and what `stat` says at that moment. Digests are taken when they are asked for; a file that has changed in
between is reported without one, as if it were missing, so that no cached answer can rest on it.
"""

from __future__ import annotations

import os
import stat
import sys
from _thread import get_ident
from contextlib import contextmanager
from importlib.machinery import (
    EXTENSION_SUFFIXES,
    SOURCE_SUFFIXES,
    ExtensionFileLoader,
    FileFinder,
    ModuleSpec,
    SourceFileLoader,
)
from typing import Any, NamedTuple

from towpath._site import SDK_FOLDER

try:  # OpenSSL, which hashlib loads, takes longer to load than a program takes to be hashed
    from _sha2 import sha256  # type: ignore[import-not-found]
except ImportError:
    try:
        from _sha256 import sha256  # type: ignore[import-not-found]  # Python 3.11
    except ImportError:
        from hashlib import sha256

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from types import ModuleType

IMPORT_SYSTEM = "<frozen importlib._bootstrap_external>"
CANDIDATES = (f"{os.sep}__init__.py", *EXTENSION_SUFFIXES, *SOURCE_SUFFIXES)  # of a module, in the order in which they are looked for
SHADOWS = (f"{os.sep}__init__.py", ".py")
IMPORT_SUFFIXES = (".py", ".pyc", ".so", ".pyd")
HARMLESS = frozenset({"__phello__", "antigravity", "idlelib", "lib2to3", "test", "this", "turtledemo"})  # what no other module imports
BLOCK = 1 << 20
MAX_MADE = 1000  # folders that the program made and that are remembered, so that looking through them stays cheap


class Seen(NamedTuple):
    """What a file was when it was read."""

    stamp: tuple[int, ...] | None
    digest: str | None = None


class Listed(NamedTuple):
    """What a folder was when it was listed."""

    names: list[str]
    only_imports: bool


class Reads:
    """The files and folders that were read in one span of time, by path."""

    def __init__(self) -> None:
        self.files: dict[str, Seen] = {}
        self.folders: dict[str, Listed] = {}

    def take(self, later: Reads) -> None:
        """Add what was read in the span after this one."""
        self.files.update(later.files)
        for path, listed in later.folders.items():
            self.listed(path, listed)

    def listed(self, path: str, listed: Listed) -> None:
        """Note a folder. What the program has seen itself counts more than what the import system has."""
        known = self.folders.get(path)
        if known is None or (known.only_imports and not listed.only_imports):
            self.folders[path] = listed


class Recorder:
    """Records what the program reads, from `start` on."""

    def __init__(self, root: str) -> None:
        self._skipped = _skipped_folders(root)
        self._loading = Reads()
        self._late = Reads()
        self._now = self._loading
        self._made: tuple[str, ...] = ()
        self._digests: dict[tuple[str, tuple[int, ...]], str] = {}
        self._own_threads: set[int] = set()
        self._root = root

    def start(self) -> None:
        """Begin to record; this cannot be undone for the process."""
        sys.addaudithook(self._audit)

    def loaded(self, path: str, data: bytes) -> None:
        """Note the exact bytes of a module that was loaded."""
        self._now.files[path] = Seen(_stamp(path), f"{sha256(data).hexdigest()}/{len(data)}")

    def before(self, folder: str) -> None:
        """Note what would have come before the modules that are loaded already, had `folder` been searched for them."""
        for name in {name.partition(".")[0] for name in list(sys.modules)} & (sys.stdlib_module_names | {"towpath"}):
            if getattr(getattr(sys.modules[name], "__spec__", None), "has_location", False):
                for candidate in SHADOWS:
                    self.missed(os.path.join(folder, name + candidate))

    def knows_to_be_refused(self, name: str) -> bool:
        """Tell whether a module of that name beside the program would be refused before anything else could come of it.

        The standard library's are, whenever the program is loaded. asyncio alone looks for more than a hundred of them, which would be
        noted with the result of every stage.
        """
        return self._now is self._late and name in sys.stdlib_module_names and name not in HARMLESS

    def missed(self, path: str) -> None:
        """Note a file that the import system looked for, and that is not there."""
        if path not in self._now.files and not self._is_ignored(path):
            self._now.files[path] = Seen(None)

    def not_imported(self, path: str) -> None:
        """Note that there is no module, nor a folder with modules, at `path`."""
        if not self._is_ignored(path):
            self._now.listed(path, Listed(self._names(path, only_imports=True), only_imports=True))

    def finish_loading(self) -> None:
        """Take what was read so far for the program itself; whatever is read from now on is late."""
        late, self._late = self._late, Reads()
        self._now = self._late
        self._loading.take(late)

    def files(self, *, late: bool) -> list[dict[str, Any]]:
        """Return the protocol's form of the files that were read, sorted by path."""
        result = []
        for path, seen in sorted(self._reads(late=late).files.copy().items()):
            digest = seen.digest
            if digest is None:
                now = _stamp(path)
                if now is not None and not stat.S_ISREG(now[0]):
                    continue
                digest = self._digest(path, now) if now is not None and now == seen.stamp else None
            entry = {"path": _text(path)}
            result.append(entry if digest is None else {**entry, "digest": digest})
        return result

    def folders(self, *, late: bool) -> list[dict[str, Any]]:
        """Return the protocol's form of the folders that were listed, sorted by path."""
        return [
            {
                "path": _text(path),
                "names": [_text(name) for name in listed.names],
                "filter": "imports" if listed.only_imports else "",
            }
            for path, listed in sorted(self._reads(late=late).folders.copy().items())
        ]

    def _reads(self, *, late: bool) -> Reads:
        return self._late if late else self._loading

    def _names(self, path: str, *, only_imports: bool) -> list[str]:
        with self._unseen():
            try:
                with os.scandir(path) as entries:
                    names = [entry.name for entry in entries if not only_imports or _is_importable(entry)]
            except OSError:
                return []
        return sorted(names, key=os.fsencode)

    def _digest(self, path: str, stamp: tuple[int, ...]) -> str | None:
        known = self._digests.get((path, stamp))
        if known is not None:
            return known
        total = sha256()
        with self._unseen():
            try:
                with open(path, "rb", buffering=0) as file:
                    while block := file.read(BLOCK):
                        total.update(block)
            except OSError:
                return None
        if _stamp(path) != stamp:
            return None
        return self._digests.setdefault((path, stamp), f"{total.hexdigest()}/{stamp[1]}")

    @contextmanager
    def _unseen(self) -> Iterator[None]:
        """Do not record what this thread does, which is on behalf of the recorder."""
        own = get_ident()
        self._own_threads.add(own)
        try:
            yield
        finally:
            self._own_threads.discard(own)

    def _audit(self, event: str, args: tuple[Any, ...]) -> None:
        if event not in ("open", "os.listdir", "os.scandir", "os.mkdir") or get_ident() in self._own_threads:
            return
        try:
            if event == "open":
                self._opened(args[0], args[2])
            elif event == "os.mkdir":
                self._makes(args[0], args[2])
            else:
                # Frame 1 is whoever listed: the hook is called from C.
                importing = sys._getframe(1).f_code.co_filename == IMPORT_SYSTEM  # noqa: SLF001
                self._listed(args[0], importing=importing)
        except Exception:  # noqa: BLE001, S110 - what goes wrong here is none of the user's concern
            pass

    def _opened(self, name: Any, flags: int) -> None:
        # What is truncated, or made by this very call, has no content that could be read.
        if isinstance(name, int) or flags & os.O_ACCMODE == os.O_WRONLY or flags & (os.O_TRUNC | os.O_EXCL):
            return
        path = os.path.abspath(os.fsdecode(name))
        if path not in self._now.files and not self._is_ignored(path):
            self._now.files[path] = Seen(_stamp(path))

    def _is_ignored(self, path: str) -> bool:
        return (path + os.sep).startswith((*self._skipped, *self._made))

    def _makes(self, name: Any, parent: int) -> None:
        """Note a folder that the program is about to make: what it finds in there later, it has put there itself."""
        path = os.path.abspath(os.fsdecode(name)) + os.sep
        if parent == -1 and not self._is_ignored(path) and _stamp(path) is None:
            self._made = (*self._made[-MAX_MADE:], path)

    def _listed(self, name: Any, *, importing: bool) -> None:
        if isinstance(name, int):
            name = os.readlink(f"/proc/self/fd/{name}")
        path = os.path.abspath(os.fsdecode(name or "."))
        if importing and _is_below(path, self._root):
            return  # `Finder` notes what is looked for in there
        if not self._is_ignored(path) and path + os.sep != _SDK_PARENT:
            self._now.listed(path, Listed(self._names(path, only_imports=importing), importing))


_SDK_PARENT = os.path.dirname(SDK_FOLDER.rstrip(os.sep)).rstrip(os.sep) + os.sep


def _skipped_folders(root: str) -> tuple[str, ...]:
    standard = os.path.dirname(os.__file__)
    folders = {"/proc", "/dev", "/sys", SDK_FOLDER, standard}
    for prefix in (sys.prefix, sys.base_prefix, sys.exec_prefix, sys.base_exec_prefix):
        # A program may live below the prefix, as everything below /usr does.
        if not _is_below(root, prefix):
            folders.add(prefix)
    return tuple(folder.rstrip(os.sep) + os.sep for folder in folders if folder.strip(os.sep))


def _is_below(path: str, folder: str) -> bool:
    return (path + os.sep).startswith(folder.rstrip(os.sep) + os.sep)


def _stamp(path: str) -> tuple[int, ...] | None:
    try:
        found = os.stat(path)
    except (OSError, ValueError):
        return None
    return found.st_mode, found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino


def _is_importable(entry: os.DirEntry[str]) -> bool:
    return entry.name.endswith(IMPORT_SUFFIXES) or entry.is_dir()


def _text(name: str) -> str:
    """Return a file name as JSON can hold it."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


class SourceLoader(SourceFileLoader):
    """Loads modules from their source alone: bytecode may be stale, and nothing is written into the user's tree."""

    recorder: Recorder | None = None

    def path_stats(self, path: str) -> Any:
        """Have no stats, without which the import system neither reads nor writes bytecode."""
        raise OSError(path)

    def get_data(self, path: str) -> bytes:
        """Read a file, and note its digest."""
        data = super().get_data(path)
        if self.recorder is not None:
            self.recorder.loaded(os.path.abspath(path), data)
        return data


def loader_for(recorder: Recorder | None) -> type[SourceLoader]:
    """Return the loader whose modules `recorder` notes, if there is one."""
    return type("SourceLoader", (SourceLoader,), {"recorder": recorder})


def _is_of_program(folder: str, root: str) -> bool:
    path = os.path.abspath(folder)
    return _is_below(path, root) and path + os.sep != _SDK_PARENT


class Finder(FileFinder):
    """Finds modules in a folder of the program, and notes the files that would have been found first, had they been there."""

    recorder: Recorder | None = None

    def find_spec(self, fullname: str, target: ModuleType | None = None) -> ModuleSpec | None:
        """Find a module."""
        spec = super().find_spec(fullname, target)
        if self.recorder is not None and not (spec is None and self.recorder.knows_to_be_refused(fullname)):
            base = os.path.join(os.path.abspath(self.path), fullname.rpartition(".")[2])
            for candidate in CANDIDATES:
                if spec is not None and spec.origin is not None and os.path.abspath(spec.origin) == base + candidate:
                    break
                self.recorder.missed(base + candidate)
        return spec


class LastFinder:
    """Notes the modules that no finder has found: a folder of that name would be one."""

    def __init__(self, root: str, recorder: Recorder) -> None:
        self._root = root
        self._recorder = recorder

    def find_spec(self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None) -> None:
        """Find nothing."""
        del target
        if fullname.partition(".")[0] in sys.stdlib_module_names:
            return  # such as `msvcrt`, which is of another platform
        for folder in sys.path if path is None else path:
            if isinstance(folder, str) and _is_of_program(folder, self._root):
                self._recorder.not_imported(os.path.join(os.path.abspath(folder), fullname.rpartition(".")[2]))


def install(root: str, loader: type[SourceLoader]) -> None:
    """Have modules below `root` found by `Finder` and loaded by `loader`."""
    finder: type[Finder] = type("Finder", (Finder,), {"recorder": loader.recorder})

    def hook(path: str) -> FileFinder:
        if not _is_of_program(path, root) or not os.path.isdir(path):
            raise ImportError(path)
        return finder(path, (ExtensionFileLoader, EXTENSION_SUFFIXES), (loader, SOURCE_SUFFIXES))

    sys.path_hooks.insert(0, hook)
    if loader.recorder is not None:
        sys.meta_path.append(LastFinder(root, loader.recorder))
    forget(root)


def forget(root: str) -> None:
    """Have the import system look for the hook of folders below `root` anew."""
    for path in [path for path in sys.path_importer_cache if _is_below(path, root)]:
        del sys.path_importer_cache[path]
