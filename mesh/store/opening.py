"""Opening a worker's results: its folder is owned, and what is in doubt is gone through first."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from . import folder, inspection
from .durability import Durability
from .results import Results
from .seal import Seal, write_synced

_ID = re.compile(r"[0-9a-z]{8}")


def open_results(
    root: Path,
    new_id: str,
    durability: Durability,
    say: Callable[[str], None],
    *,
    temporary: bool = False,
) -> tuple[Results, folder.Lock]:
    """Prepare and own `root`, and open the results in it. If they are in doubt they are gone
    through first, and `say` is told what was found; a `temporary` store never is.

    Raises:
        StoreError: see `folder.prepare`, `folder.Lock`, `Results`.
    """
    folder.prepare(root)
    lock = folder.Lock(root)
    try:
        if temporary:
            return Results(root, new_id, durability, inspected=True), lock  # nobody touches that
        return _open_kept(root, _id_of(root, new_id), durability, say), lock
    except BaseException:
        lock.release()
        raise


def _id_of(root: Path, new_id: str) -> str:
    """The id of a store whose index may be lost, or a new one."""
    try:
        known = (root / "id").read_text().strip()
    except (OSError, ValueError):
        return new_id
    return known if _ID.fullmatch(known) else new_id


def _open_kept(
    root: Path, new_id: str, durability: Durability, say: Callable[[str], None]
) -> Results:
    data = root / "index.mdb"
    seal = Seal(data)
    doubt = seal.doubt()
    if doubt is not None:
        say(f"{data} is inspected: {doubt}")
        wrong = inspection.damage(data, "results")
        if wrong is not None:
            data.replace(root / "index.mdb-damaged")
            say(f"{data} is damaged: {wrong}. It is kept as index.mdb-damaged")
    results = Results(root, new_id, durability, seal, inspected=doubt is not None)
    try:
        write_synced(root / "id", results.id)
        if doubt is not None or results.is_unindexed():
            whole, lost, found = results.go_through()
            say(f"{root}: {whole} results are whole, {lost} are lost, {found} are indexed again")
    except BaseException:
        results.close()
        raise
    return results
