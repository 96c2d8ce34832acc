"""Loading a pipeline program."""

from __future__ import annotations

import os
import sys
from importlib.util import module_from_spec, spec_from_file_location
from typing import Any, NoReturn

from towpath import _plan, _record
from towpath._declare import Declaration, Problem, declared
from towpath._errors import PipelineError
from towpath._failure import deepest_site, traced
from towpath._record import HARMLESS
from towpath._site import Site, relative

MODULE = "pipeline"


class LoadError(PipelineError):
    """The program raised an exception while it was loaded.

    Attributes:
        trace: The stack trace, without frames of this SDK.
    """

    trace: str

    def __init__(self, message: str, *, trace: str, file: str | None, line: int | None) -> None:
        super().__init__(message, file=file, line=line)
        self.trace = trace


class Program:
    """A program that has been loaded."""

    def __init__(self, path: str, root: str, recorder: _record.Recorder | None = None) -> None:
        """Load the program at `path`, a file or a package folder; sites are relative to `root`.

        Raises:
            PipelineError: It cannot be loaded, two stages have the same name, or one cannot be reached.
        """
        self.path = path
        self.root = root
        self._check_neighbours()
        loader = _record.loader_for(recorder)
        _record.install(root, loader)
        if recorder is not None:
            recorder.start()
            recorder.before(os.path.dirname(path))
        noted: list[Declaration] = []
        token = declared.set(noted)
        try:
            self._execute(loader)
        finally:
            declared.reset(token)
        self.declarations = _plan.discover(vars(module) for module in self._modules())
        self.functions: dict[str, Declaration] = _plan.by_name(self.declarations, root, self._lost(noted))

    def describe(self) -> dict[str, Any]:
        """Return `plan` and `sites` of the protocol's `describe`."""
        plan, sites = _plan.build(self.declarations, self.root)
        return {
            "plan": plan,
            "sites": {name: {"file": relative(site.file, self.root), "line": site.line} for name, site in sites.items()},
        }

    def _check_neighbours(self) -> None:
        """Refuse modules that would be imported in place of those of the standard library, by all that needs these."""
        folder = os.path.dirname(self.path)
        names = set(os.listdir(folder)) if os.path.isdir(folder) else set()
        files = [f"{name}.py" for name in sys.stdlib_module_names - HARMLESS if f"{name}.py" in names]
        packages = [os.path.join(name, "__init__.py") for name in sys.stdlib_module_names & names - HARMLESS]
        files += [file for file in packages if os.path.isfile(os.path.join(folder, file))]
        problems = []
        for file in sorted(files):
            module = file.removesuffix(".py").partition(os.sep)[0]
            text = f"this file hides the module {module!r} of Python's standard library, which other modules import"
            problems.append(Problem(Site(os.path.join(folder, file), 1), text, "give it another name, or move it into a package"))
        _plan.raise_problems(problems, self.root)

    def _execute(self, loader: type[_record.SourceLoader]) -> None:
        is_package = os.path.isdir(self.path)
        file = os.path.join(self.path, "__init__.py") if is_package else self.path
        if not os.path.isfile(file):
            message = f"there is no pipeline program at {file}"
            raise PipelineError(message, file=relative(file, self.root), line=1)
        sys.path.insert(0, os.path.dirname(self.path))
        spec = spec_from_file_location(
            MODULE,
            file,
            loader=loader(MODULE, file),
            submodule_search_locations=[self.path] if is_package else None,
        )
        if spec is None or spec.loader is None:
            message = f"{file} cannot be imported"
            raise PipelineError(message, file=relative(file, self.root), line=1)
        module = module_from_spec(spec)
        sys.modules[MODULE] = module
        try:
            spec.loader.exec_module(module)
        except (Exception, SystemExit) as error:  # noqa: BLE001 - it is the user's code that raised
            del sys.modules[MODULE]
            self._fail(error)

    def _fail(self, error: BaseException) -> NoReturn:
        if isinstance(error, PipelineError):
            file = error.file and relative(error.file, self.root)
            at = f"{file}:{error.line}: " if file else ""
            raise PipelineError(at + error.message, file=file, line=error.line, hint=error.hint) from error
        site = deepest_site(error, self.root)
        if isinstance(error, SyntaxError) and error.filename and error.lineno:
            site = relative(os.path.abspath(error.filename), self.root), error.lineno
        file, line = site or (None, None)
        at = f"{file}:{line}: " if file else ""
        message = f"{at}the program cannot be loaded: {type(error).__name__}: {error}"
        raise LoadError(message, trace=traced(error), file=file, line=line) from None

    def _lost(self, noted: list[Declaration]) -> list[Declaration]:
        """Return the stages of the program's own files that it does not refer to, and that no module offers to others."""
        known = set(self.declarations)
        unknown = [declaration for declaration in noted if declaration not in known]
        if not unknown:
            return []
        for module in list(sys.modules.values()):
            file = getattr(module, "__file__", None)
            if isinstance(file, str) and relative(file, self.root) != file:
                known.update(_plan.discover([vars(module)]))
        return [
            declaration
            for declaration in unknown
            if declaration not in known and relative(declaration.site.file, self.root) != declaration.site.file
        ]

    def _modules(self) -> list[Any]:
        """Return the module of the program; of a package, also those of its submodules that are loaded."""
        names = [name for name in list(sys.modules) if name == MODULE or name.startswith(MODULE + ".")]
        return [sys.modules[name] for name in names]
