"""Imports: in a slot, the modules that came with functions, and what was imported of them.

While a task runs, the modules that came with its function are found before all others, so that it
imports them as its client has them. What a process has imported it keeps, though: when a task comes
that needs another version of that, or when a file has been edited from which a module was imported
that did not come, the process makes room for another one.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Mapping
from importlib.machinery import ModuleSpec, SourceFileLoader
from pathlib import PurePath
from typing import Any

from ..protocol.functions import is_installed
from ..protocol.parcel import Source, state_of


class Loader(SourceFileLoader):
    """Makes one module of its source. What lies beside its file it has where that is here."""

    def __init__(self, name: str, source: Source) -> None:
        super().__init__(name, source.path)
        self.source = source

    def path_stats(self, path: str) -> Mapping[str, Any]:
        """For Python, which would look for its bytecode: there is none."""
        raise OSError

    def get_data(self, path: str) -> bytes:
        """The content of a file."""
        return self.source.text if path == self.path else super().get_data(path)


class Imports:
    """Those of one slot. There is one, and it finds modules from now on."""

    def __init__(self) -> None:
        self._ours = frozenset(sys.modules)  # nothing can be done about these
        self._sources: dict[str, Source] = {}
        self._looked = len(sys.modules)
        self._files: dict[str, tuple[str, Any]] = {}  # local modules that did not come → file
        sys.meta_path.insert(0, self)

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        """For Python: where a module comes from that came with what runs."""
        source = self._sources.get(name)
        if source is None:
            return None
        places = [str(PurePath(source.path).parent)] if source.is_package else None
        loader = Loader(name, source)
        return importlib.util.spec_from_file_location(
            name, source.path, loader=loader, submodule_search_locations=places
        )

    def take(self, sources: dict[str, Source]) -> str | None:
        """The next task comes with these; why it cannot run in this process, or None."""
        self._sources = sources
        for name, source in sources.items():
            module = sys.modules.get(name)
            if module is None or name in self._ours:
                continue
            loader = getattr(module.__spec__, "loader", None)
            if not isinstance(loader, Loader) or loader.source.digest != source.digest:
                return f"it has imported another version of module {name}"
        for name, (path, state) in list(self._files.items()):  # another thread may add
            if state_of(path) != state:
                return f"{path} was edited, which it has imported as {name}"
        return None

    def look(self) -> None:
        """Note what a task has imported from files of the user, before its client hears that it
        has ended, and may edit them."""
        if len(sys.modules) == self._looked:
            return
        self._looked = len(sys.modules)
        for name in set(sys.modules) - self._ours - self._files.keys():
            spec = getattr(sys.modules.get(name), "__spec__", None)
            if spec is None or not spec.has_location or not spec.origin:
                continue
            if not isinstance(spec.loader, Loader) and not is_installed(name):
                self._files[name] = spec.origin, state_of(spec.origin)
