"""Unknown: an argument by a name that a call does not take, and what was most likely meant by it.

Calls that refuse them have a ``**unknown: NoReturn``: a type checker allows none.
"""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable
from typing import Any

from ..options import OPTIONS

_SLOTS = "slots= is how many processes there are"

#: Names that other pools have, and what does it here.
ELSEWHERE = {
    "n_jobs": _SLOTS,
    "n_workers": _SLOTS,
    "num_workers": _SLOTS,
    "processes": _SLOTS,
    "workers": _SLOTS,
}

#: What the function itself takes by keyword.
IN_KWARGS = "what the function takes by keyword goes into kwargs=, a dict for each call"

#: What it takes so from `map`, which passes on values by their places alone.
BOUND = (
    "what the function takes by keyword is bound to it: map(functools.partial(f, x=3), ...); "
    "submit_many() takes kwargs=, a dict for each call"
)


def refuse(unknown: dict[str, Any], name: str, call: Callable[..., Any], otherwise: str) -> None:
    """See that there is no `unknown` argument in a call of `name`, which is `call`.

    Args:
        otherwise: what to do when nothing that is known was meant.

    Raises:
        TypeError: there is one.
    """
    for each in unknown:
        known = list(inspect.signature(call).parameters)
        if each in OPTIONS:
            told = f"an option of calls is given by m.options({each}=...)"
        elif each in ELSEWHERE:
            told = ELSEWHERE[each]
        elif near := difflib.get_close_matches(each, known, 1):
            told = f"did you mean {near[0]!r}?"
        else:
            told = otherwise
        raise TypeError(f"{name}() takes no argument {each!r}: {told}")
