"""Rebinding: the variable that the result of a call goes to, and what it holds until then.

A cell of a notebook that is run again opens its mesh anew, and forgets the one before.
"""

from __future__ import annotations

import dis
from itertools import dropwhile
from types import FrameType


def variable_of(frame: FrameType) -> tuple[str, object] | None:
    """Name and value of the variable to which `frame` assigns the result of the call that it is in:
    ``NAME = CALL(…)``, not in a function. None for any other statement."""
    code = dis.get_instructions(frame.f_code)
    following = next(dropwhile(lambda each: each.offset <= frame.f_lasti, code), None)
    if following is None or following.opname != "STORE_NAME":
        return None
    return following.argval, frame.f_locals.get(following.argval)
