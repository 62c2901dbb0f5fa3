"""Modules: which local ones a function imports when it runs, and their sources.

What a function refers to goes with it, as it is in memory. What it imports only when it runs is not
there yet, or may be another by then: it goes as a source, together with all local modules which
that imports in turn, whenever it does so. A module goes one way or the other, so that its classes
are the same for all. Modules of the standard library, installed ones and ours are on every host;
extension modules are taken to be.

Imported by clients alone.
"""

from __future__ import annotations

import dis
import importlib.util
import os
import sys
from collections.abc import Iterable, Iterator
from hashlib import blake2b
from importlib.machinery import ModuleSpec
from pathlib import PurePath
from types import CodeType
from typing import Any

from ..errors import PayloadError
from .functions import CODE_BYTES, SITES, codes
from .parcel import Source, state_of

#: The sources that travel with one function: a large project has a few of these. What is more is
#: not code, or belongs installed.
SOURCES_BYTES_MAX = 16 * 1024 * 1024

_IMPORT_NAME = dis.opmap["IMPORT_NAME"]

#: A file that was read: what it was like then → its source, and what it imports.
_read: dict[str, tuple[Any, Source, list[str]]] = {}


def imported(code: CodeType, package: str) -> Iterator[str]:
    """The modules that `code`, of `package`, and the functions defined in it may import, with all
    that may be one: ``from a import b`` gives a, and a.b."""
    for each in codes(code):
        if _IMPORT_NAME not in each.co_code[::2]:
            continue
        level: Any = None
        names: Any = None
        for step in dis.get_instructions(each):
            if step.opname == "EXTENDED_ARG":
                continue
            if step.opcode == _IMPORT_NAME:
                yield from _meant(step.argval, level or 0, names or (), package)
            level, names = names, step.argval


def _meant(name: str, level: int, names: Iterable[str], package: str) -> Iterator[str]:
    if level:
        try:
            name = importlib.util.resolve_name("." * level + name, package)
        except ImportError:
            return  # beyond its package: it fails there as it does here
    parts = name.split(".")
    yield from (".".join(parts[:end]) for end in range(1, len(parts) + 1))
    yield from (f"{name}.{each}" for each in names)


def sources(names: Iterable[str], function: str) -> dict[str, Source]:
    """The sources of the local ones among these modules, and of those that they import in turn.

    Raises:
        PayloadError: they are too large to go with `function`.
    """
    found: dict[str, Source] = {}
    waiting = list(names)
    seen = set(waiting)
    while waiting:
        name = waiting.pop()
        spec = None if _is_everywhere(name) else _spec_of(name)
        read = _source(name, spec) if spec is not None and _is_local(spec) else None
        if read is not None:
            found[name] = read[0]
            more = set(read[1]) - seen
            seen |= more
            waiting += more
    _check_size(found, function)
    return dict(sorted(found.items()))


def _is_everywhere(name: str) -> bool:
    top = name.partition(".")[0]
    return top in sys.stdlib_module_names or top == __name__.partition(".")[0]


def _is_local(spec: ModuleSpec) -> bool:
    """Whether a module is the user's own. One that is installed to be edited is: its files
    change."""
    places = [spec.origin] if spec.has_location and spec.origin else []
    places += spec.submodule_search_locations or []
    return bool(places) and all(SITES.isdisjoint(PurePath(each).parts) for each in places)


def _spec_of(name: str) -> ModuleSpec | None:
    """Where a module is, loaded or not. Nothing is imported for it."""
    loaded = getattr(sys.modules.get(name), "__spec__", None)
    if isinstance(loaded, ModuleSpec) and loaded.name == name:
        return loaded
    parent, _, _ = name.rpartition(".")
    path = None
    if parent:
        package = _spec_of(parent)
        if package is None or package.submodule_search_locations is None:
            return None
        path = list(package.submodule_search_locations)
    for finder in sys.meta_path:
        try:
            spec = finder.find_spec(name, path)
        except Exception:  # a user's finder may do anything
            continue
        if spec is not None:
            return spec
    return None


def _source(name: str, spec: ModuleSpec) -> tuple[Source, list[str]] | None:
    """The source of a module, and what that imports; None: it has none."""
    folders = spec.submodule_search_locations
    is_package = folders is not None
    file = spec.origin if spec.has_location else None
    path = file or os.path.join(*list(folders or [""])[:1], "__init__.py")
    state = state_of(path)
    if name in _read and _read[name][0] == (path, state):
        return _read[name][1:]
    text = b""
    if file:  # a package may be a folder without one
        try:
            if spec.loader.get_source(name) is None:  # type: ignore[union-attr]
                return None  # an extension module
            text = spec.loader.get_data(path)  # type: ignore[union-attr]
        except Exception:  # a user's loader may do anything
            return None
    package = name if is_package else name.rpartition(".")[0]
    try:
        imports = list(dict.fromkeys(imported(compile(text, path, "exec"), package)))
    except (SyntaxError, ValueError):
        imports = []  # it fails there as it does here
    raw = b"\0".join((os.fsencode(path), bytes([is_package]), text))
    source = Source(path, is_package, text, blake2b(raw, digest_size=CODE_BYTES).digest())
    _read[name] = (path, state), source, imports
    return source, imports


def _check_size(found: dict[str, Source], function: str) -> None:
    size = sum(len(each.text) for each in found.values())
    if size <= SOURCES_BYTES_MAX:
        return
    largest = sorted(found, key=lambda name: -len(found[name].text))[:3]
    raise PayloadError(
        f"function {function} imports local modules of {size / 1e6:.0f} MB, more than "
        f"{SOURCES_BYTES_MAX / 1e6:.0f} MB, the largest {', '.join(largest)}: install them on the "
        f"hosts of workers, read from a file what is data in them, or open Mesh(code=False)"
    )
