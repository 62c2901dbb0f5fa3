"""NoValue: what stands for a value and is none, and says so to who has forgotten ``.result()``.

Python would say what a Future cannot do, and not what to do. Answered is only what can be nothing
else than that mistake: arithmetic, order, and attributes of public names that there are not. Who
tries what an object is able to do finds what it always did: what makes a sequence, a number or an
array of it stays undefined, so do all names that begin with an underscore.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NoReturn

#: Operators by the middle of their methods' names, and as they are written.
ARITHMETIC = {
    "add": "+",
    "sub": "-",
    "mul": "*",
    "matmul": "@",
    "truediv": "/",
    "floordiv": "//",
    "mod": "%",
    "pow": "**",
}

#: The same of those that order, with the one by which the other side is asked.
ORDER = {"lt": ("<", "gt"), "le": ("<=", "ge"), "gt": (">", "lt"), "ge": (">=", "le")}


class NoValue:
    """See the module. A type checker sees nothing of it: to it all this is an error."""

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> NoReturn:
            line = f"{type(self).__name__!r} object has no attribute {name!r}"
            told = "" if name.startswith("_") else ": its value, .result(), may have"
            raise AttributeError(line + told, name=name, obj=self)


def _refusing(symbol: str, reflected: str | None) -> Callable[..., Any]:
    """A method of NoValue: what the other side makes of it by its method `reflected`, or an
    error."""

    def refuse(self: NoValue, other: object, *_: object) -> Any:
        ask = None if reflected is None else getattr(type(other), reflected, None)
        found: Any = NotImplemented
        if ask is not None and not isinstance(other, NoValue):
            found = ask(other, self)
        if found is NotImplemented:
            raise TypeError(f"no {symbol!r} with {self!r}: its value is .result()")
        return found

    return refuse


for _name, _symbol in ARITHMETIC.items():
    setattr(NoValue, f"__{_name}__", _refusing(_symbol, f"__r{_name}__"))
    setattr(NoValue, f"__r{_name}__", _refusing(_symbol, None))
for _name, (_symbol, _other) in ORDER.items():
    setattr(NoValue, f"__{_name}__", _refusing(_symbol, f"__{_other}__"))
