"""What a function is made of, and the digest that tells whether it still is that.

A function refers to others: by global name, through modules, in its closure, its defaults, its
class. What is installed is the same everywhere and ends the walk. The *code digest* covers the
code of all the rest (neither line numbers nor comments nor docstrings) and the plain values it
refers to: numbers, texts, and lists and dicts of them. A value of another kind counts by its type
alone: a lock or a random generator differs in every process and changes no code. What is bound to
the function (a partial's arguments, a method's object) counts like an argument, see marks.py.

The walk goes in an order that the code itself gives, so it is the same in every process.
"""

from __future__ import annotations

import functools
import opcode
import sys
import types
from collections.abc import Callable, Iterable, Iterator
from enum import Enum
from hashlib import blake2b
from typing import Any

from .functions import CODE_BYTES, is_installed, name_of, travels_by_name
from .modules import imported
from .parcel import Source

#: Deeper than this, a plain value counts by its type: it may contain itself.
DEPTH_MAX = 20

_PLAIN = frozenset({type(None), type(...), bool, int, float, complex, str, bytes})
_LOAD_GLOBAL = opcode.opmap["LOAD_GLOBAL"]
_NAMES_SHIFT = 1 if sys.version_info >= (3, 11) else 0  # LOAD_GLOBAL keeps a flag below its index
_LOAD_NAME, _STORE_NAME = opcode.opmap["LOAD_NAME"], opcode.opmap["STORE_NAME"]
_HAS_CONSTANT = frozenset(opcode.hasconst)
_HAS_DOCSTRING = 0x4000000  # a flag of code objects since Python 3.13

#: What Python writes into classes, and what says where they are and not what they do.
_OF_NO_CONSEQUENCE = {
    "__annotations__", "__dict__", "__doc__", "__firstlineno__", "__module__", "__qualname__",
    "__static_attributes__", "__weakref__", "_abc_impl",
}  # fmt: skip


def code_of(function: Callable[..., Any]) -> bytes:
    """The code digest of `function`."""
    return Parts(function).digest


class Parts:
    """All that `function` is made of.

    Attributes:
        modules: the modules that must travel with it, and what of each it uses.
        imports: the modules that it, or what goes with it, may import when it runs.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        self.modules: dict[str, set[str]] = {}
        self.imports: dict[str, None] = {}
        self._hash = blake2b(digest_size=CODE_BYTES)
        self._met: dict[int, tuple[int, Any]] = {}  # by identity, which the object must outlive
        self._bound(function)

    @property
    def digest(self) -> bytes:
        """The code digest."""
        return self._hash.digest()

    def take(self, sources: dict[str, Source]) -> None:
        """These modules go along as sources: their code counts, too."""
        for name, source in sources.items():
            self._say("source", name)
            try:
                self._code(compile(source.text, source.path, "exec"), {})
            except (SyntaxError, ValueError):
                self._say(source.digest.hex())

    def _say(self, *words: str) -> None:
        for word in words:
            raw = word.encode("utf-8", "surrogatepass")
            self._hash.update(len(raw).to_bytes(4, "little") + raw)

    def _bound(self, value: Any) -> None:
        """What is called, or bound to what is called: its value counts, whatever it is."""
        if isinstance(value, functools.partial):
            self._say("partial")
            for each in (value.func, *value.args, *value.keywords.values()):
                self._bound(each)
            self._say(*value.keywords)
        elif isinstance(value, types.MethodType):
            self._say("method")
            self._bound(value.__func__)
            self._bound(value.__self__)
        elif isinstance(value, (types.FunctionType, types.ModuleType, type)):
            self._visit(value, ())
        else:
            self._say(_mark(value))
            self._visit(value, ())

    def _visit(self, value: Any, names: Iterable[str], depth: int = 0) -> None:
        """Any value that is referred to; `names` are those used by who refers to it."""
        kind = type(value)
        if kind in _PLAIN:
            self._say(kind.__name__, repr(value))
        elif isinstance(value, Enum):
            self._say(value.name)
            self._once(type(value), self._class)
        elif kind in (tuple, list, dict, set, frozenset) and depth < DEPTH_MAX:
            self._say(kind.__name__, str(len(value)))
            self._items(value, names, depth + 1)
        elif isinstance(value, types.FunctionType):
            self._once(value, self._function)
        elif isinstance(value, type):
            self._once(value, self._class)
        elif isinstance(value, types.ModuleType):
            self._module(value, names)
        else:
            self._say(name_of(value))
            for each in _wrapped(value):
                self._visit(each, names, depth)
            if not isinstance(value, types.BuiltinFunctionType):
                self._once(kind, self._class)

    def _items(self, value: Any, names: Iterable[str], depth: int) -> None:
        if isinstance(value, (tuple, list)):
            for item in value:
                self._visit(item, names, depth)
        elif isinstance(value, dict):
            for name in sorted(value, key=_text):
                self._say(_text(name))
                self._visit(value[name], names, depth)
        else:
            self._say(*sorted(map(_text, value)))

    def _once(self, value: Any, visit: Callable[[Any], None]) -> None:
        met = self._met.get(id(value))
        if met is not None:
            self._say("again", str(met[0]))
            return
        self._met[id(value)] = len(self._met), value
        visit(value)

    def _function(self, function: types.FunctionType) -> None:
        self._say("function", name_of(function) if travels_by_name(function) else "")
        if travels_by_name(function):
            return
        self._from(function.__module__)
        self._say(function.__qualname__)
        code = function.__code__
        package = function.__globals__.get("__package__") or ""
        self.imports.update(dict.fromkeys(imported(code, package)))
        globals_: dict[str, None] = {}
        self._code(code, globals_)
        names = list(dict.fromkeys(_names(code)))
        self._visit(function.__defaults__, names)
        self._visit(function.__kwdefaults__, names)
        for name, cell in zip(code.co_freevars, function.__closure__ or (), strict=True):
            self._say(name)
            try:
                self._visit(cell.cell_contents, names)
            except ValueError:
                self._say("not assigned yet")
        for name in globals_:
            if name in function.__globals__:
                self._say(name)
                self._visit(function.__globals__[name], names)

    def _code(self, code: types.CodeType, globals_: dict[str, None]) -> None:
        """Instructions, with constants in place of their numbers; collects global names."""
        flags = code.co_flags & ~_HAS_DOCSTRING
        counts = (code.co_argcount, code.co_posonlyargcount, code.co_kwonlyargcount, flags)
        self._say(repr((counts, code.co_names, code.co_varnames, code.co_freevars)))
        self._hash.update(getattr(code, "co_exceptiontable", b""))  # since Python 3.11
        pending: Any = None  # a constant that has been loaded
        for operation, argument in _instructions(code):
            if operation == _STORE_NAME and code.co_names[argument] in _OF_NO_CONSEQUENCE:
                pending = None
            if pending is not None:
                self._constant(pending[0], globals_)
                pending = None
            if operation in _HAS_CONSTANT:
                self._hash.update(bytes([operation]))
                pending = (code.co_consts[argument],)
                continue
            if operation == _LOAD_GLOBAL:
                globals_[code.co_names[argument >> _NAMES_SHIFT]] = None
            elif operation == _LOAD_NAME:
                globals_[code.co_names[argument]] = None
            self._hash.update(bytes([operation]) + argument.to_bytes(4, "little"))
        if pending is not None:
            self._constant(pending[0], globals_)

    def _constant(self, constant: Any, globals_: dict[str, None]) -> None:
        if isinstance(constant, types.CodeType):
            self._code(constant, globals_)
        else:
            self._visit(constant, ())

    def _class(self, cls: type) -> None:
        self._say("class", name_of(cls))
        if is_installed(cls.__module__):
            return
        self._from(cls.__module__)
        for base in cls.__bases__:
            self._visit(base, ())
        for name, value in sorted(vars(cls).items()):
            if name not in _OF_NO_CONSEQUENCE:
                self._say(name)
                self._visit(value, ())

    def _module(self, module: types.ModuleType, names: Iterable[str]) -> None:
        """A module counts by what is used of it."""
        self._say("module", module.__name__)
        if is_installed(module.__name__):
            return
        used = self._from(module.__name__)
        for name in names:
            if name in vars(module):
                used.add(name)
                value = vars(module)[name]
                if value is not module:
                    self._say(name)
                    self._visit(value, names)

    def _from(self, module: str | None) -> set[str]:
        """Note that something of `module` is used."""
        if not module or is_installed(module):
            return set()
        return self.modules.setdefault(module, set())


def _instructions(code: types.CodeType) -> Iterator[tuple[int, int]]:
    raw = code.co_code
    extended = 0
    for operation, argument in zip(raw[::2], raw[1::2], strict=True):
        argument |= extended
        extended = argument << 8 if operation == opcode.EXTENDED_ARG else 0
        if operation != opcode.EXTENDED_ARG:
            yield operation, argument


def _names(code: types.CodeType) -> Iterator[str]:
    """Names that `code` may look for in a module: also those it has as texts, for getattr."""
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, str):
            yield constant
        elif isinstance(constant, types.CodeType):
            yield from _names(constant)


def _wrapped(value: Any) -> Iterator[Any]:
    """The functions inside what is none: a method, a property, a cached function."""
    for name in ("__func__", "__self__", "__wrapped__", "fget", "fset", "fdel", "func"):
        try:
            inner = getattr(value, name, None)
        except Exception:  # a user's __getattr__ may do anything
            continue
        if isinstance(inner, (types.FunctionType, types.MethodType)) or name == "__self__":
            yield inner


def _text(value: Any) -> str:
    """A text of a key or of a set's item, by which they are sorted: no addresses."""
    if type(value) in _PLAIN:
        return f"{type(value).__name__} {value!r}"
    if isinstance(value, (tuple, frozenset)):
        texts = map(_text, value)
        inner = ",".join(sorted(texts) if isinstance(value, frozenset) else texts)
        return f"{type(value).__name__}({inner})"
    return f"{name_of(value)} {value.name if isinstance(value, Enum) else ''}"


def _mark(value: Any) -> str:
    from .marks import mark  # it asks us for the code of functions

    try:
        return mark((value,), {}).hex()
    except Exception:  # it cannot be pickled: whoever sends it will say so
        return ""
