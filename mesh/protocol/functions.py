"""Functions ⇄ payloads: by name where every host has the module, else by value.

By name: the module is the standard library's or installed (it lies in a `site-packages`), and the
name leads back to the very function. Everything else (`__main__`, a notebook, `sim.py` beside the
script) goes by value, so that an edited file never runs as its old self.

Local modules that it uses travel with it, as far as it uses them. The *code digest* tells whether
a function still is what it was: see code.py. Imported by clients and slots alone.
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

from ..errors import PayloadError

#: Of a function's digest, and of its code digest.
DIGEST_BYTES = 16
CODE_BYTES = 8

_BY_NAME, _BY_VALUE = b"N", b"V"

#: Where installers put what they install: of the interpreter, of a user, of a distribution.
_SITES = frozenset({"site-packages", "dist-packages"})

#: Bound methods, each a new object every time it is looked up.
_MADE_ANEW = (types.BuiltinMethodType, types.MethodType)

#: What goes by value is registered with cloudpickle, which has one register for all threads.
_packing = threading.Lock()


class Packed(NamedTuple):
    """A function ready to travel: digest of its payload, name, code digest, payload."""

    digest: bytes
    name: str
    code: bytes
    payload: bytes

    @property
    def by_name(self) -> bool:
        """Whether it travels by name: then nothing it refers to travels."""
        return self.payload.startswith(_BY_NAME)


def pack(function: Callable[..., Any]) -> Packed:
    """`function`, packed.

    Raises:
        PayloadError: it cannot be pickled.
        TypeError: it cannot be called.
    """
    if not callable(function):
        raise TypeError(f"submit() takes a callable first, not {function!r}")
    name = name_of(function)
    if travels_by_name(function):
        payload = _BY_NAME + name.encode()
        code = blake2b(payload, digest_size=CODE_BYTES).digest()
    else:
        payload, code = _by_value(function, name)
    digest = blake2b(payload, digest_size=DIGEST_BYTES).digest()
    return Packed(digest, name, code, payload)


def name_of(function: Any) -> str:
    """``module:qualname``, as `mesh submit` takes it and errors show it."""
    inner = function.func if isinstance(function, functools.partial) else function
    qualname = getattr(inner, "__qualname__", type(inner).__qualname__)
    module = getattr(inner, "__module__", None) or type(inner).__module__
    return f"{module}:{qualname}"


def load(payload: Any) -> Callable[..., Any]:
    """The function in `payload`.

    Raises:
        Exception: whatever importing or unpickling raises.
    """
    view = memoryview(payload)
    if view[:1] == _BY_NAME:
        return find(bytes(view[1:]).decode())
    function: Callable[..., Any] = pickle.loads(view[1:])
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


def travels_by_name(function: Any) -> bool:
    """Whether `function` is what its name leads to, on every host."""
    module_name = getattr(function, "__module__", None)
    if not isinstance(module_name, str) or not is_installed(module_name):
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
    if top in ("__main__", "__mp_main__"):
        return False
    if top in sys.stdlib_module_names or top == __name__.partition(".")[0]:
        return True
    module = sys.modules.get(module_name)
    file = getattr(module, "__file__", None)
    if file is None:
        return module is not None and getattr(module, "__path__", None) is None
    return not _SITES.isdisjoint(PurePath(file).parts)


def _by_value(function: Any, name: str) -> tuple[bytes, bytes]:
    """The payload and code digest of a function that travels by value."""
    from .code import Parts  # slots never need it

    parts = Parts(function)
    stream = io.BytesIO()
    try:
        dump_by_value(function, parts.modules, stream)
    except Exception as error:
        raise PayloadError(
            f"function {name} cannot be pickled: {error}; "
            f"it holds something that exists in this process alone: make it inside the function"
        ) from error
    return _BY_VALUE + stream.getvalue(), parts.digest


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
        """Takes along, of a local module, what is used of it, not all that is in it."""

        def reducer_override(self, each: Any) -> Any:
            if isinstance(each, types.ModuleType) and each.__name__ in loaded:
                used = modules[each.__name__]
                state = {name: item for name, item in vars(each).items() if name in used}
                return types.ModuleType, (each.__name__,), state
            return super().reducer_override(each)

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


def codes(code: types.CodeType) -> Iterator[types.CodeType]:
    """`code` and the code of the functions defined in it."""
    yield code
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from codes(constant)
