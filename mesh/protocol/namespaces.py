"""Namespaces: what code by value brings of its modules, and how a slot has its way with it.

Each function that comes by value has globals of its own, which are filled with what it refers to;
so has each module and each class. In a slot they may belong to a mesh whose initializer has been
there before: what that has set counts more than what comes (see processes/initializers.py). So the
pickle of whatever is filled names the functions here, which ask. Elsewhere nobody answers.
"""

from __future__ import annotations

import types
from collections.abc import Callable
from typing import Any, Protocol


class World(Protocol):
    """Where code is that comes now."""

    def fills(self, made: type) -> bool:
        """Whether a class is to be filled with what has come of it."""

    def complete(self, names: dict[str, Any]) -> None:
        """The namespace of a module has been filled."""


#: In a slot: gives the world of what it runs just now, or None.
ask: Callable[[], World | None] | None = None


def asking(reduced: Any) -> Any:
    """What cloudpickle makes of a function or class, with the question when it is filled."""
    if not isinstance(reduced, tuple) or len(reduced) != 6:
        return reduced  # it goes by name
    make, arguments, state, _, _, fill = reduced
    return make, arguments, (fill, state), None, None, fill_made


def fill_made(made: Any, state: tuple[Callable[[Any, Any], None], Any]) -> None:
    """Fill a function or class as cloudpickle would."""
    fill, content = state
    world = None if ask is None else ask()
    if world is None:
        fill(made, content)
    elif not isinstance(made, type):
        fill(made, content)
        world.complete(made.__globals__)
    elif world.fills(made):
        fill(made, content)


def fill_module(module: types.ModuleType, names: dict[str, Any]) -> None:
    """Fill a module with what is used of it."""
    vars(module).update(names)
    world = None if ask is None else ask()
    if world is not None:
        world.complete(vars(module))
