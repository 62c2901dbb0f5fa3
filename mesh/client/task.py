"""@task: a function that carries its options."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, overload

from ..options import options_of

F = TypeVar("F", bound=Callable[..., Any])

ATTRIBUTE = "__mesh_options__"


@overload
def task(function: F, /) -> F: ...


@overload
def task(**options: Any) -> Callable[[F], F]: ...


def task(function: Any = None, /, **options: Any) -> Any:
    """Give a function options for when it is submitted. It stays a plain callable.

    Options at the call (`m.options(...)`) win over these, these over the mesh's.

    Args:
        options: as for `Mesh.options`, but for `id`.

    Raises:
        TypeError: an unknown option; all are listed.
        ValueError: a value is out of range.

    Example:
        >>> @task(retries=3)
        ... def measure(x): ...
        >>> m.submit(measure, 1)
    """
    checked = options_of(options)

    def mark(marked: F) -> F:
        setattr(marked, ATTRIBUTE, checked)
        return marked

    return mark if function is None else mark(function)


def options_in(function: Any) -> dict[str, Any]:
    """The options that `@task` gave `function`, or none."""
    options: dict[str, Any] = getattr(function, ATTRIBUTE, {})
    return options
