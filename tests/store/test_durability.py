"""The two levels: which one is meant, and what LMDB is told of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from mesh import Mesh
from mesh.store.durability import LEVELS, Durability, level
from mesh.store.tables import LmdbTables


def test_a_mesh_with_a_folder_survives_power_cuts_and_a_temporary_one_need_not():
    assert level(None, temporary=False) == "disk"
    assert level(None, temporary=True) == "process"
    assert [level(each, temporary=False) for each in LEVELS] == ["disk", "process"]
    assert level("process", temporary=True) == "process"


def test_a_level_that_is_none_is_refused():
    for temporary in (True, False):
        with pytest.raises(ValueError, match="durability='memory': give one of 'disk', 'process'"):
            level("memory", temporary=temporary)


@pytest.mark.parametrize("arguments", [{}, {"slots": 1}])
def test_a_temporary_mesh_that_is_to_survive_a_power_cut_is_refused(
    arguments: dict[str, int], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.delenv("MESH_ACCESS", raising=False)
    with pytest.raises(ValueError, match="goes with its script: give dir= or name= too"):
        Mesh(durability="disk", **arguments)


def test_who_joins_has_no_say_in_it(tmp_path: Path):
    with pytest.raises(ValueError, match=r"access= joins .* durability= embeds one here"):
        Mesh(access=tmp_path, durability="process")


@pytest.mark.parametrize(("durability", "synced"), [("disk", True), ("process", False)], ids=LEVELS)
def test_at_level_disk_lmdb_syncs_data_and_meta_pages_and_never_writes_through_its_map(
    tmp_path: Path, durability: Durability, synced: bool
):
    tables = LmdbTables(tmp_path / "s.mdb", ("one",), durability=durability)

    flags = tables._env.flags()

    assert (flags["sync"], flags["metasync"], flags["writemap"]) == (synced, True, False)
    tables.close()
