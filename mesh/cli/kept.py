"""``--results DIR``: results that stay in a folder of the user's, and are found there again."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..task import State
from .fetch import print_rows, print_value, told_of_file
from .place import import_from_here

if TYPE_CHECKING:
    from ..client.future import Future
    from ..client.group import Group


def keep(found: Future | Group, folder: str) -> None:
    """Keep what a task gave, or each member of a group, under their ids and own ids.

    Raises:
        MeshError: it cannot be written, or had.
    """
    from ..client.group import Group
    from ..client.kept import Kept

    kept = Kept(folder)
    for future in found if isinstance(found, Group) else [found]:
        kept.keep(future.outcome(), future.explain()["name"])
    if isinstance(found, Group):
        kept.keep_group(found.id, found.name, [future.id for future in found])


def keep_done(found: Future | Group, folder: str) -> None:
    """Keep the results of those that are done, of a task or group that has ended.

    Raises:
        MeshError: see `keep`.
    """
    from ..client.group import Group

    members = list(found) if isinstance(found, Group) else [found]
    done = [each for each in members if each.wait() and each.state == State.DONE.word]
    if len(done) == len(members):
        keep(found, folder)
    else:
        for each in done:
            keep(each, folder)


def show_kept(id: str, folder: str, output: str | None, *, as_json: bool) -> bool:
    """Show what is kept under a name, without a mesh; False if nothing is."""
    from ..client.kept import Kept
    from ..client.saving import save_value

    kept = Kept(folder)
    if not kept.has(id):
        return False
    import_from_here()  # what the value is made of may be there
    value = kept.result(id)
    if output is not None:
        told_of_file(output, *save_value(value, output))
    elif as_json:
        members = kept.members(id)
        print_rows([(id, value)] if members is None else list(zip(members, value, strict=True)))
    else:
        print_value(value)
    return True
