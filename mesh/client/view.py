"""View: a mesh with options."""

from __future__ import annotations

import concurrent.futures
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any, NoReturn

from ..options import options_of, over
from .calls import check_word
from .future import Future
from .group import Group
from .unknown import BOUND, IN_KWARGS, refuse

if TYPE_CHECKING:
    from .mesh import Mesh


class View(concurrent.futures.Executor):
    """A mesh with options: see `Mesh.options`. Closing it closes nothing.

    Example:
        >>> careful = m.options(retries=2, time_limit=600)
        >>> careful.submit_many(simulate, Ts).results()
        >>> careful.options(priority=5).submit(simulate, 2.3)  # all three options
    """

    def __init__(self, mesh: Mesh, options: dict[str, Any]) -> None:
        alias = options.pop("id", None)
        if alias is not None:
            check_word("id", alias)
        self._mesh = mesh
        self._options = options_of(options) | ({} if alias is None else {"id": alias})

    def options(self, **options: Any) -> View:
        """This view with further options; of two by one name the later counts."""
        view = View(self._mesh, options)
        view._options = over(self._options, view._options)
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
        **unknown: NoReturn,
    ) -> Group:
        """See `Mesh.submit_many`."""
        refuse(unknown, "submit_many", self.submit_many, IN_KWARGS)
        return self._mesh.submitter.submit_many(
            dict(self._options), fn, iterables, kwargs, ids, name
        )

    def map(  # type: ignore[override]  # more by keyword, of which any is an error
        self,
        fn: Callable[..., Any],
        /,
        *iterables: Iterable[Any],
        timeout: float | None = None,
        chunksize: int = 1,
        buffersize: int | None = None,
        progress: bool = False,
        **unknown: NoReturn,
    ) -> Iterator[Any]:
        """See `Mesh.map`."""
        refuse(unknown, "map", self.map, BOUND)
        if "id" in self._options:
            raise TypeError("map() takes no id=: submit_many() takes ids=")
        return self._mesh.submitter.map(
            self._options, fn, iterables, timeout, chunksize, buffersize, progress
        )

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Nothing: the mesh is closed by itself."""
