"""Functions ⇄ payloads: by name where every host has the module, else by value.

By name: the module is the standard library's or installed (it lies in a `site-packages`), and the
name leads back to the very function. Everything else (`__main__`, a notebook, `sim.py` beside the
script) goes by value, so that an edited file never runs as its old self. That
is bytecode, which may wait in a store for another Python: it says which one it is of.

Local modules that it uses travel with it, as far as it uses them; what it imports when it runs, as
sources: see modules.py. The *code digest* tells whether a function still is what it was: see
code.py. Imported by clients and slots alone.
"""

from __future__ import annotations

import functools
import importlib
import io
import pickle
import sys
import threading
import types
from collections.abc import Callable, Iterator
from hashlib import blake2b
from pathlib import PurePath
from typing import Any, NamedTuple

from ..errors import PayloadError, VersionMismatch
from .namespaces import asking, fill_module
from .parcel import Initializer, Parcel
from .parcel import pack as pack_parcel
from .version import PYTHON

#: Of a function's digest, and of its code digest.
DIGEST_BYTES = 16
CODE_BYTES = 8

_BY_NAME, _BY_VALUE = b"N", b"V"

#: Whose bytecode a function by value is: a byte each for major and minor version.
_PYTHON = bytes(sys.version_info[:2])

#: Where installers put what they install: of the interpreter, of a user, of a distribution.
SITES = frozenset({"site-packages", "dist-packages"})

#: What a script is called while it runs: its name leads to another one elsewhere.
_MAIN = frozenset({"__main__", "__mp_main__"})

#: Bound methods, each a new object every time it is looked up.
_MADE_ANEW = (types.BuiltinMethodType, types.MethodType)

#: What goes by value is registered with cloudpickle, which has one register for all threads.
_packing = threading.Lock()


class Packed(NamedTuple):
    """A function ready to travel: digest of its payload, name, code digest, payload; whether it
    goes by name: then nothing it refers to travels; its parcel; and the local modules of which
    something is in it."""

    digest: bytes
    name: str
    code: bytes
    payload: bytes
    by_name: bool = False
    parcel: Parcel = Parcel(b"")
    modules: tuple[str, ...] = ()

    def at(self, home: str, initializer: Initializer | None = None) -> Packed:
        """The same, submitted in the folder `home`, to a mesh with this initializer."""
        placed = self.parcel._replace(home=home, initializer=initializer)
        return _packed(self.name, self.code, placed, self.by_name, self.modules)


def pack(function: Callable[..., Any], *, with_modules: bool = True) -> Packed:
    """`function`, packed. Without its modules it needs those there that it has here, and goes by
    name itself if it is of one.

    Raises:
        PayloadError: it cannot be pickled, or its modules are too large.
        TypeError: it cannot be called.
    """
    if not callable(function):
        raise TypeError(
            f"submit() takes a callable first, not {function!r:.80}: write submit(f, x), not "
            f"submit(f(x))"
        )
    name = name_of(function)
    if travels_by_name(function, with_modules=with_modules):
        call = _BY_NAME + name.encode()
        code = blake2b(call, digest_size=CODE_BYTES).digest()
        return _packed(name, code, Parcel(call), True, ())
    return _by_value(function, name, with_modules)


def _packed(
    name: str, code: bytes, parcel: Parcel, by_name: bool, modules: tuple[str, ...]
) -> Packed:
    payload = pack_parcel(parcel)
    digest = blake2b(payload, digest_size=DIGEST_BYTES).digest()
    return Packed(digest, name, code, payload, by_name, parcel, modules)


def name_of(function: Any) -> str:
    """``module:qualname``, as `mesh submit` takes it and errors show it."""
    inner = function.func if isinstance(function, functools.partial) else function
    qualname = getattr(inner, "__qualname__", type(inner).__qualname__)
    module = getattr(inner, "__module__", None) or type(inner).__module__
    return f"{module}:{qualname}"


def load(call: Any) -> Callable[..., Any]:
    """The function that a parcel's `call` is.

    Raises:
        VersionMismatch: it is the bytecode of another Python.
        Exception: whatever importing or unpickling raises.
    """
    view = memoryview(call)
    if view[:1] == _BY_NAME:
        return find(bytes(view[1:]).decode())
    if view[1:3] != _PYTHON:
        raise VersionMismatch(
            f"it was pickled by Python {'.'.join(map(str, view[1:3]))}, and this is Python "
            f"{PYTHON}: submit it again, or run the mesh with the Python that it was submitted by"
        )
    function: Callable[..., Any] = pickle.loads(view[3:])
    return function


def find(name: str) -> Callable[..., Any]:
    """The function that ``module:qualname`` names.

    Raises:
        ImportError, AttributeError: there is none.
    """
    module, _, qualname = name.partition(":")
    found: Any = importlib.import_module(module)
    for part in qualname.split("."):
        found = getattr(found, part)
    return found


def travels_by_name(function: Any, *, with_modules: bool = True) -> bool:
    """Whether `function` is what its name leads to, on every host."""
    module_name = getattr(function, "__module__", None)
    if not isinstance(module_name, str) or module_name in _MAIN:
        return False
    if with_modules and not is_installed(module_name):
        return False
    try:
        found = find(name_of(function))
        return found is function or isinstance(found, _MADE_ANEW) and found == function
    except (ImportError, AttributeError):
        return False


@functools.lru_cache(maxsize=1024)
def is_installed(module_name: str) -> bool:
    """Whether every host of this Python has `module_name`: standard library or site-packages."""
    top = module_name.partition(".")[0]
    if top in _MAIN:
        return False
    if top in sys.stdlib_module_names or top == __name__.partition(".")[0]:
        return True
    module = sys.modules.get(module_name)
    file = getattr(module, "__file__", None)
    if file is None:
        return module is not None and getattr(module, "__path__", None) is None
    return not SITES.isdisjoint(PurePath(file).parts)


def _by_value(function: Any, name: str, with_modules: bool) -> Packed:
    """A function that travels by value."""
    from .code import Parts  # slots never need these
    from .modules import sources

    parts = Parts(function)
    found = sources(parts.imports, name) if with_modules and parts.imports else {}
    parts.take(found)
    inside = {}
    if with_modules:
        inside = {each: used for each, used in parts.modules.items() if each not in found}
    stream = io.BytesIO()
    try:
        dump_by_value(function, inside, stream)
    except Exception as error:
        from . import culprit

        held = culprit.of_function(function, lambda part: dump_by_value(part, inside, io.BytesIO()))
        raise PayloadError(
            f"function {name} cannot be pickled: {error}; {held or 'something that it holds'} "
            f"exists in this process alone: make it inside the function"
        ) from error
    parcel = Parcel(_BY_VALUE + _PYTHON + stream.getvalue(), "", found)
    return _packed(name, parts.digest, parcel, False, tuple(inside))


def dump_by_value(
    value: Any,
    modules: dict[str, set[str]],
    stream: io.BytesIO,
    buffer_callback: Callable[[Any], Any] | None = None,
) -> None:
    """Pickle `value`, and with it what it needs of `__main__` and of `modules` (see `Parts`).

    Raises:
        Exception: whatever pickling raises.
    """
    import cloudpickle  # slow to import, and most programs never need it

    class Pickler(cloudpickle.Pickler):  # type: ignore[misc]
        """Takes along, of a local module, what is used of it, not all that is in it; and of a
        cached function the function, where Python would look for its name."""

        def reducer_override(self, each: Any) -> Any:
            if isinstance(each, functools._lru_cache_wrapper) and (
                each.__module__ in loaded or not travels_by_name(each, with_modules=False)
            ):
                return cached, (each.__wrapped__, each.cache_parameters())
            if isinstance(each, types.ModuleType) and each.__name__ in loaded:
                used = modules[each.__name__]
                state = {name: item for name, item in vars(each).items() if name in used}
                return types.ModuleType, (each.__name__,), state, None, None, fill_module
            return asking(super().reducer_override(each))

    loaded = [name for name in modules if name in sys.modules]
    with _packing:
        theirs = cloudpickle.list_registry_pickle_by_value()  # a user may have registered some
        try:
            for name in loaded:
                cloudpickle.register_pickle_by_value(sys.modules[name])
            Pickler(stream, protocol=5, buffer_callback=buffer_callback).dump(value)
        finally:
            for name in loaded:
                if name not in theirs:
                    cloudpickle.unregister_pickle_by_value(sys.modules[name])


def cached(function: Callable[..., Any], parameters: dict[str, Any]) -> Callable[..., Any]:
    """A cached function as it arrives: with nothing in its cache."""
    return functools.lru_cache(**parameters)(function)


def codes(code: types.CodeType) -> Iterator[types.CodeType]:
    """`code` and the code of the functions defined in it."""
    yield code
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from codes(constant)
