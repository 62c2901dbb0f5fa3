"""Power cuts, simulated: what a real process had acknowledged is there, or is missed by name.

`MESH_POWER_CUTS=1000 pytest tests/store/test_power.py` simulates so many.
"""

from __future__ import annotations

import json
import os
import random
import re
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import keeper
import power
import pytest

from mesh.store.durability import Durability
from mesh.store.records import TABLES
from mesh.store.tables import MemoryTables

HERE = Path(__file__).parent
SEED, STEPS = 1, 24
CUTS = int(os.environ.get("MESH_POWER_CUTS", "24"))

pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or shutil.which("cc") is None,
    reason="the witness of writes is a C library for Linux: needs cc",
)


class Past(NamedTuple):
    """What a process has written, and where the folder is that it wrote to."""

    notes: list[power.Note]
    root: Path
    states: list[str]


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return power.compiled(tmp_path_factory.mktemp("witness"))


def past(library: Path, folder: Path, durability: Durability) -> Past:
    root, log = folder / "root", folder / "log"
    root.mkdir(parents=True)
    command = [sys.executable, HERE / "keeper.py", root, durability, str(SEED), str(STEPS)]
    subprocess.run(command, env=power.watched(library, root, log), check=True)
    states = keeper.states(MemoryTables(TABLES), SEED, STEPS)
    return Past(list(power.notes(log)), root, states)


@pytest.fixture(scope="module")
def at_disk(library: Path, tmp_path_factory: pytest.TempPathFactory) -> Past:
    return past(library, tmp_path_factory.mktemp("disk"), "disk")


@pytest.fixture(scope="module")
def at_process(library: Path, tmp_path_factory: pytest.TempPathFactory) -> Past:
    return past(library, tmp_path_factory.mktemp("process"), "process")


class Cut(NamedTuple):
    """What was left by a cut, and what the process had said before."""

    acknowledged: int
    found: dict[str, Any]


def cuts(past: Past, where: list[int], folder: Path, inspected: str) -> Iterator[Cut]:
    """The power fails after each of so many notes."""
    boot = folder / "boot_id"
    boot.write_text("the next boot\n")
    command = [sys.executable, HERE / "survivor.py", boot, str(SEED), inspected]
    disk, played = power.Disk(), 0
    with subprocess.Popen(
        list(map(str, command)), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as survivor:
        assert survivor.stdin is not None and survivor.stdout is not None
        for number, at in enumerate(sorted(where)):
            for note in past.notes[played:at]:
                disk.play(note)
            played = at
            left = folder / str(number)
            left.mkdir()
            disk.cut(left, random.Random(number))
            survivor.stdin.write(f"{left} {STEPS}\n")
            survivor.stdin.flush()
            answer = survivor.stdout.readline()
            assert answer, f"cut {number}, after note {at}, ended who opened the stores"
            yield Cut(disk.acknowledged, json.loads(answer))
            shutil.rmtree(left)
        survivor.stdin.close()


def anywhere(past: Past, count: int) -> list[int]:
    return random.Random(count).choices(range(len(past.notes) + 1), k=count)


@pytest.fixture(scope="module")
def left_at_disk(at_disk: Past, tmp_path_factory: pytest.TempPathFactory) -> list[Cut]:
    folder = tmp_path_factory.mktemp("left")
    return list(cuts(at_disk, anywhere(at_disk, CUTS), folder, "itself"))


def entries(said: list[str]) -> int:
    """How many results the index had."""
    counted = re.search(r"(\d+) results are whole, (\d+) are lost", " ".join(said))
    return 0 if counted is None else sum(map(int, counted.groups()))


def test_the_witness_has_seen_everything_that_was_written(at_disk: Past, at_process: Past):
    for past in (at_disk, at_process):
        disk = power.Disk()
        for note in past.notes:
            disk.play(note)

        assert disk.acknowledged == STEPS
        data = [path for path in disk.names if not path.endswith("-lock")]
        assert {"router/records.mdb", "worker/index.mdb"} < set(data) and len(data) > STEPS
        for path in data:
            assert (past.root / path).read_bytes() == disk.names[path].cache, path


def test_at_level_disk_everything_acknowledged_survives_any_power_cut(
    at_disk: Past, left_at_disk: list[Cut]
):
    for acknowledged, found in left_at_disk:
        assert found["records"] in at_disk.states[max(1, acknowledged) : acknowledged + 2]
        assert not any("damaged" in line for line in found["said"])
        kept = max(0, acknowledged - 2)
        assert entries(found["said"]) in (kept, kept + 1)


def test_a_large_result_is_whole_or_lost_after_any_power_cut_and_never_wrong(
    left_at_disk: list[Cut],
):
    """Wrong bytes would have ended the survivor. That both ends occur shows that it looked."""
    seen: Counter[bool] = Counter()
    for acknowledged, found in left_at_disk:
        seen.update(found["fetched"][: max(0, acknowledged - 2)])

    assert min(seen[True], seen[False]) > CUTS


def test_at_level_process_records_are_refused_after_a_power_cut_and_never_a_mixture(
    at_process: Past, tmp_path: Path
):
    refused = 0
    for acknowledged, found in cuts(
        at_process, anywhere(at_process, CUTS // 2), tmp_path, "a child"
    ):
        if found["records"] not in at_process.states[1 : acknowledged + 2]:
            assert "'process', which survives no power cut" in found["records"]
            refused += 1

    assert refused > CUTS // 4


def test_at_level_process_records_at_rest_survive_any_power_cut(at_process: Past, tmp_path: Path):
    closed = [
        at + 2  # what the seal says, and its sync
        for at, note in enumerate(at_process.notes)
        if note.path == "router/records.mdb-seal" and note.op == "w" and b"mtime" in note.data
    ]
    assert len(closed) == len(range(keeper.RESTS, STEPS, keeper.RESTS))
    for acknowledged, found in cuts(at_process, closed, tmp_path, "a child"):
        assert found["records"] == at_process.states[acknowledged]
