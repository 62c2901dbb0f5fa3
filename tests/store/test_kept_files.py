"""A worker that is killed while it keeps results: whenever that is, the files in its store are
those of its index, and what it had kept is there."""

from __future__ import annotations

import random
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import shelver

from mesh.errors import ResultLost
from mesh.store.opening import open_results
from mesh.store.results import TABLES, Results
from mesh.store.tables import LmdbTables

KILLS = 16


def shelve(folder: Path, seed: int, *options: object) -> subprocess.Popen[str]:
    command = [sys.executable, shelver.__file__, folder, seed, *options]
    return subprocess.Popen([*map(str, command)], stdout=subprocess.PIPE, text=True)


def take(lines: Iterator[str], kept: set[int]) -> None:
    """What a process has said of its store."""
    for line in lines:
        if line.endswith("\n"):  # else it was killed as it said so
            sign, *leases = line.split()
            change = kept.update if sign == "+" else kept.difference_update
            change(map(int, leases))


def files_and_entries(root: Path) -> tuple[set[str], set[str]]:
    tables = LmdbTables(root / "index.mdb", TABLES, durability="process")
    with tables.begin() as txn:
        entries = {name.hex() for name, _ in txn.scan("result")}
    tables.close()
    return {file.name for file in (root / "content").rglob("*") if file.is_file()}, entries


def check(root: Path, kept: set[int]) -> None:
    """All that was kept is there and whole; what is there has an entry; nothing else is there."""
    store, lock = open_results(root, "another2", "process", print)
    for lease in kept:
        file, size, _ = store.find(shelver.task(lease), lease, 0)
        assert (Path(file).read_bytes(), size) == (shelver.content(lease), lease % 3000)
    assert list(store.incoming.iterdir()) == []
    store.close()
    lock.release()
    files, entries = files_and_entries(root)
    assert files <= entries, "a file that nobody will ever find takes room for ever"
    for name in entries - files:  # of those it was told to let go of, as it was killed
        assert int(name[32:48], 16) not in kept


def test_killed_at_any_moment_again_and_again(tmp_path: Path) -> None:
    chance, kept = random.Random(7), set[int]()
    for seed in range(1, KILLS + 1):
        with shelve(tmp_path / "w", seed) as process:
            assert process.stdout is not None
            take((process.stdout.readline() for _ in range(chance.randrange(1, 60))), kept)
            process.kill()
            take(process.stdout, kept)
        check(tmp_path / "w", kept)
    assert len(kept) > KILLS


@pytest.mark.parametrize("call", [0, 1, shelver.BATCH - 1, 3 * shelver.BATCH])
def test_killed_between_entry_and_file_the_next_life_finds_it(tmp_path: Path, call: int) -> None:
    kept = set[int]()
    with shelve(tmp_path / "w", 1, call) as process:
        assert process.stdout is not None
        take(process.stdout, kept)
    assert process.returncode == -9
    left = {file.name for file in (tmp_path / "w/incoming").iterdir()}
    assert left, "it was killed in between"

    check(tmp_path / "w", kept)

    files, entries = files_and_entries(tmp_path / "w")
    assert left <= files == entries


def test_what_had_no_entry_yet_is_not_there_and_takes_no_room(tmp_path: Path) -> None:
    store = Results(tmp_path, "k3f9x2m2", "process")
    (store.incoming / (shelver.task(7) + bytes(9) + b"\7\0\0").hex()).write_bytes(b"half")
    store.close()

    store = Results(tmp_path, "k3f9x2m2", "process")

    assert list(store.incoming.iterdir()) == []
    with pytest.raises(ResultLost):
        store.find(shelver.task(7), 7, 0)
    store.close()
