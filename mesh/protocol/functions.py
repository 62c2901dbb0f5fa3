"""Functions ⇄ payloads: by name where every host has the module, else by value.

By name: the module is the standard library's or installed (it lies in a `site-packages`), and the
name leads back to the very function. Everything else (`__main__`, a notebook, `sim.py` beside the
script) goes by value, so that an edited file never runs as its old self.

The *code digest* tells whether a function still is what it was: it covers bytecode, constants,
names, defaults, and the by-value functions it calls, but neither line numbers nor comments nor
docstrings. Imported by clients and slots alone.
"""

from __future__ import annotations

import functools
import importlib
import pickle
import sys
import sysconfig
import types
from collections.abc import Callable, Iterator
from hashlib import blake2b
from typing import Any, NamedTuple

from ..errors import PayloadError

DIGEST_BYTES = 16
CODE_BYTES = 8

_BY_NAME, _BY_VALUE = b"N", b"V"


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
    if _travels_by_name(function):
        payload = _BY_NAME + name.encode()
        code = blake2b(payload, digest_size=CODE_BYTES).digest()
    else:
        payload = _BY_VALUE + _by_value(function, name)
        code = _code_digest(function)
    return Packed(blake2b(payload, digest_size=DIGEST_BYTES).digest(), name, code, payload)


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
    return found  # type: ignore[no-any-return]


def _travels_by_name(function: Any) -> bool:
    module_name = getattr(function, "__module__", None)
    if not isinstance(module_name, str) or not is_installed(module_name):
        return False
    try:
        return find(name_of(function)) is function
    except (ImportError, AttributeError):
        return False


@functools.lru_cache(maxsize=1024)
def is_installed(module_name: str) -> bool:
    """Whether every host of this Python has `module_name`: standard library or site-packages."""
    top = module_name.partition(".")[0]
    if top in ("__main__", "__mp_main__"):
        return False
    if top in sys.stdlib_module_names:
        return True
    module = sys.modules.get(module_name)
    file = getattr(module, "__file__", None)
    if file is None:
        return module is not None and getattr(module, "__path__", None) is None
    paths = sysconfig.get_paths()
    return any(file.startswith(paths[key]) for key in ("purelib", "platlib"))


def _by_value(function: Any, name: str) -> bytes:
    import cloudpickle

    modules = [
        module
        for module_name in _local_modules(function)
        if (module := sys.modules.get(module_name)) is not None
    ]
    try:
        for module in modules:
            cloudpickle.register_pickle_by_value(module)
        return bytes(cloudpickle.dumps(function, protocol=5))
    except Exception as error:
        raise PayloadError(
            f"function {name} cannot be pickled: {error}; "
            f"it holds something that exists in this process alone: make it inside the function"
        ) from error
    finally:
        for module in modules:
            cloudpickle.unregister_pickle_by_value(module)


def _local_modules(function: Any) -> set[str]:
    """The modules that must travel with `function`: its own and those of what it calls."""
    modules = set()
    for each in _reached(function):
        module_name = each.__module__
        if module_name and module_name != "__main__" and not is_installed(module_name):
            modules.add(module_name)
    own = getattr(function, "__module__", None)
    if isinstance(own, str) and own != "__main__" and not is_installed(own):
        modules.add(own)
    return modules


def _reached(function: Any) -> Iterator[types.FunctionType]:
    """`function` and the by-value functions it refers to by global name, each once."""
    seen: set[int] = set()
    waiting = [function]
    while waiting:
        each = waiting.pop()
        if isinstance(each, functools.partial):
            waiting.append(each.func)
            continue
        each = getattr(each, "__func__", each)
        each = getattr(each, "__wrapped__", each)
        if not isinstance(each, types.FunctionType) or id(each) in seen:
            continue
        seen.add(id(each))
        yield each
        for code in codes(each.__code__):
            for name in code.co_names:
                value = each.__globals__.get(name)
                if isinstance(value, types.FunctionType) and not is_installed(value.__module__):
                    waiting.append(value)


def codes(code: types.CodeType) -> Iterator[types.CodeType]:
    """`code` and the code of the functions defined in it."""
    yield code
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from codes(constant)


def _code_digest(function: Any) -> bytes:
    digest = blake2b(digest_size=CODE_BYTES)
    for each in sorted(_reached(function), key=lambda f: (f.__module__ or "", f.__qualname__)):
        defaults = (each.__qualname__, each.__defaults__, each.__kwdefaults__)
        digest.update(_stable(defaults).encode())
        for code in codes(each.__code__):
            constants = [c for c in code.co_consts if not isinstance(c, types.CodeType)]
            if constants and constants[0] == each.__doc__ and isinstance(constants[0], str):
                del constants[0]
            digest.update(code.co_code)
            digest.update(_stable((constants, code.co_names, code.co_varnames)).encode())
    if isinstance(function, functools.partial):
        digest.update(_stable((function.args, function.keywords)).encode())
    return digest.digest()


def _stable(value: Any) -> str:
    """A text of `value` that is the same in every process: no addresses, no hash order."""
    if isinstance(value, (tuple, list)):
        return f"({','.join(map(_stable, value))})"
    if isinstance(value, (set, frozenset)):
        return f"{{{','.join(sorted(map(_stable, value)))}}}"
    if isinstance(value, dict):
        return f"{{{','.join(sorted(f'{_stable(k)}:{_stable(v)}' for k, v in value.items()))}}}"
    if value is None or value is ... or isinstance(value, (str, bytes, int, float, complex)):
        return repr(value)
    return name_of(value)
