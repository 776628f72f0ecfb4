"""Import a service file and the modules in its directory, isolated from those of other models.

Two archives in one process may have service files and helper modules with the same names. So each
service file gets a package of its own, whose only search path is the file's directory. ``import
helper`` in a module of the package finds ``helper`` there first.

The modules of the package have an ``__import__`` of their own among their builtins. Python calls it
at each import statement, so imports inside functions find the same modules at the time of a
request.
"""

from __future__ import annotations

import builtins
import importlib
import importlib.util
import itertools
import sys
from collections.abc import Mapping, Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import (
    EXTENSION_SUFFIXES,
    SOURCE_SUFFIXES,
    ExtensionFileLoader,
    FileFinder,
    ModuleSpec,
    SourceFileLoader,
)
from pathlib import Path
from types import ModuleType
from typing import Any, Final

from mms_server.core.errors import ServiceError

_PREFIX: Final = "mms_model_"

_numbers = itertools.count(1)


def import_service(file: Path) -> ModuleType:
    """Return the module in ``file``, in a package of its own; the module has the file's name.

    Raises:
        ServiceError: the file cannot be imported.
    """
    package = _Package(f"{_PREFIX}{next(_numbers)}", file.parent)
    try:
        return package.load(file)
    except (Exception, SystemExit) as error:
        package.forget()
        raise ServiceError(
            f"service file {file} cannot be imported: {type(error).__name__}: {error}.",
            fix="correct the file; it must import on this runtime.",
        ) from error


class _Source(SourceFileLoader):
    """Loads a module with these builtins, which include ``__import__``; writes no bytecode."""

    def __init__(self, name: str, path: str, names: Mapping[str, Any]) -> None:
        super().__init__(name, path)
        self._names = names

    def exec_module(self, module: ModuleType) -> None:
        module.__dict__["__builtins__"] = dict(self._names)
        super().exec_module(module)

    def set_data(self, path: str, data: Any, *, _mode: int = 0o666) -> None:
        """Do nothing: no bytecode is written into the model's directory."""


class _Package(MetaPathFinder):
    """The modules of one directory, in a package with a unique name."""

    def __init__(self, name: str, directory: Path) -> None:
        self._name = name
        self._directory = str(directory.absolute())
        self._finders: dict[str, FileFinder] = {}
        self._builtins = {**vars(builtins), "__import__": self._import}
        package = ModuleType(name)
        package.__path__ = [self._directory]
        sys.modules[name] = package
        sys.meta_path.insert(0, self)

    def load(self, file: Path) -> ModuleType:
        """Import ``file``; the module is in ``sys.modules``, where dataclasses and typing look."""
        name = f"{self._name}.{file.stem.replace('.', '_')}"
        loader = _Source(name, str(file), self._builtins)
        spec = importlib.util.spec_from_file_location(name, file, loader=loader)
        if spec is None:
            raise ImportError(f"{file.name} is no Python file")
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        loader.exec_module(module)
        return module

    def forget(self) -> None:
        """Remove the package and its modules from ``sys.meta_path`` and ``sys.modules``."""
        sys.meta_path.remove(self)
        for name in [name for name in sys.modules if f"{name}.".startswith(f"{self._name}.")]:
            del sys.modules[name]

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Find a module of the package in ``path``, the search path of its parent package."""
        del target
        if not fullname.startswith(self._name + "."):
            return None
        for directory in path or ():
            if directory not in self._finders:
                self._finders[directory] = FileFinder(directory, *self._loaders())
            spec = self._finders[directory].find_spec(fullname)
            if spec is not None and spec.loader is not None:
                return spec
        return None

    def _loaders(self) -> Any:
        def source(name: str, path: str) -> _Source:
            return _Source(name, path, self._builtins)

        return (ExtensionFileLoader, EXTENSION_SUFFIXES), (source, SOURCE_SUFFIXES)

    def _import(
        self,
        name: str,
        globals: Mapping[str, object] | None = None,  # noqa: A002
        locals: Mapping[str, object] | None = None,  # noqa: A002
        fromlist: Sequence[str] | None = (),
        level: int = 0,
    ) -> ModuleType:
        """Import as Python does, but look in the directory first."""
        top = name.partition(".")[0]
        if level or not self._has(top):
            return builtins.__import__(name, globals, locals, fromlist or (), level)
        if fromlist:
            return builtins.__import__(f"{self._name}.{name}", globals, locals, fromlist, 0)
        importlib.import_module(f"{self._name}.{name}")
        return sys.modules[f"{self._name}.{top}"]

    def _has(self, top: str) -> bool:
        if top in sys.stdlib_module_names:
            return False
        name = f"{self._name}.{top}"
        return name in sys.modules or self.find_spec(name, [self._directory]) is not None
