"""View: a mesh with options."""

from __future__ import annotations

import concurrent.futures
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any

from ..options import options_of
from .future import Future
from .group import Group

if TYPE_CHECKING:
    from .mesh import Mesh


class View(concurrent.futures.Executor):
    """A mesh with options: see `Mesh.options`. Closing it closes nothing."""

    def __init__(self, mesh: Mesh, options: dict[str, Any]) -> None:
        alias = options.pop("id", None)
        if alias is not None and (not isinstance(alias, str) or not 0 < len(alias) <= 256):
            raise TypeError(f"id is a string of 1 to 256 characters, not {alias!r:.80}")
        self._mesh = mesh
        self._options = options_of(options) | ({} if alias is None else {"id": alias})

    def options(self, **options: Any) -> View:
        """This view with further options."""
        view = View(self._mesh, options)
        view._options = {**self._options, **view._options}
        return view

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future:
        """See `Mesh.submit`."""
        return self._mesh.submitter.submit(dict(self._options), fn, args, kwargs)

    def submit_many(
        self,
        fn: Callable[..., Any],
        /,
        *iterables: Iterable[Any],
        kwargs: Iterable[dict[str, Any]] | None = None,
        ids: Iterable[str] | None = None,
        name: str | None = None,
    ) -> Group:
        """See `Mesh.submit_many`."""
        return self._mesh.submitter.submit_many(
            dict(self._options), fn, iterables, kwargs, ids, name
        )

    def map(
        self,
        fn: Callable[..., Any],
        /,
        *iterables: Iterable[Any],
        timeout: float | None = None,
        chunksize: int = 1,
        buffersize: int | None = None,
    ) -> Iterator[Any]:
        """See `Mesh.map`."""
        if "id" in self._options:
            raise TypeError("map() takes no id=: submit_many() takes ids=")
        return self._mesh.submitter.map(
            self._options, fn, iterables, timeout, chunksize, buffersize
        )

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Nothing: the mesh is closed by itself."""
