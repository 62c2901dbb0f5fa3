"""Kept results: plain files that are found again, whole, whoever wrote them."""

from __future__ import annotations

import json
import pickle
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pytest

from mesh import Kept, MeshError, ResultLost, TaskNotFound
from mesh.client.saving import Ended
from mesh.protocol import outcome, payload
from mesh.task import Kind


def ended(value: Any, id: str = "k3f9x2m7.17") -> Ended:
    body = outcome.body(1.0, 1.0, b"", payload.join(payload.dump(value)))
    return Ended(id, Kind.VALUE, body, None)  # type: ignore[arg-type]  # nothing is fetched


def objects(folder: Path) -> list[Path]:
    return sorted(folder.glob("objects/??/*"))


@pytest.mark.parametrize(
    "value", [b"", b"bytes", bytes(300_000), "é\udc80", "", 7, None, {"x": [1, (2, 3)]}, [b"x"] * 9]
)
def test_a_value_is_found_under_its_id_and_its_own(tmp_path: Path, value: Any) -> None:
    Kept(tmp_path).keep(ended(value), "T=2.30", None)

    for name in ("k3f9x2m7.17", "T=2.30"):
        assert Kept(tmp_path).has(name) and Kept(tmp_path).result(name) == value
    assert len(objects(tmp_path)) == 1


def test_the_files_are_plain(tmp_path: Path) -> None:
    Kept(tmp_path).keep(ended(b"bytes", "k3f9x2m7.1"), "first")
    Kept(tmp_path).keep(ended("é", "k3f9x2m7.2"))
    Kept(tmp_path).keep(ended([1, 2], "k3f9x2m7.3"))

    contents = [file.read_bytes() for file in objects(tmp_path)]
    assert b"bytes" in contents and "é".encode() in contents
    [packed] = [each for each in contents if each[:1] == b"\x80"]
    assert pickle.loads(packed) == [1, 2]
    about = json.loads((tmp_path / "names/first.json").read_text())
    assert (about["id"], about["size_bytes"], about["type"]) == ("k3f9x2m7.1", 5, "bytes")
    assert (tmp_path / "objects" / about["digest"][:2] / about["digest"]).read_bytes() == b"bytes"


def test_one_content_is_one_file_and_a_group_its_members(tmp_path: Path) -> None:
    kept = Kept(tmp_path)
    for i in range(3):
        kept.keep(ended("same", f"k3f9x2m7.{i}"))
    kept.keep_group("k3f9x2m7.9", "sweep", ["k3f9x2m7.2", "k3f9x2m7.0"])

    assert len(objects(tmp_path)) == 1 and not list(tmp_path.glob("part-*"))
    assert kept.result("k3f9x2m7.9") == ["same", "same"]
    assert kept.members("k3f9x2m7.9") == ["k3f9x2m7.2", "k3f9x2m7.0"]


@pytest.mark.parametrize(
    "name", ["../up", "a/b", ".", "..", "é" * 256, "%41", "A" * 256, "x\udc80"]
)
def test_any_name_is_one_inside_the_folder(tmp_path: Path, name: str) -> None:
    inside, other = tmp_path / "inside", "A"
    Kept(inside).keep(ended(1, "k3f9x2m7.1"), name)
    Kept(inside).keep(ended(2, "k3f9x2m7.2"), other)

    assert Kept(inside).result(name) == 1 and Kept(inside).result(other) == 2
    assert [each.name for each in tmp_path.iterdir()] == ["inside"]
    assert len(list((inside / "names").iterdir())) == 4


def test_what_is_not_there_or_damaged_is_told(tmp_path: Path) -> None:
    kept = Kept(tmp_path / "kept")
    assert not kept.has("k3f9x2m7.17")
    with pytest.raises(TaskNotFound, match="k3f9x2m7"):
        kept.result("k3f9x2m7.17")
    kept.keep(ended("value"))
    [file] = objects(kept.folder)
    file.write_bytes(b"valuE")
    with pytest.raises(ResultLost, match="damaged"):
        kept.result("k3f9x2m7.17")
    file.unlink()
    with pytest.raises(ResultLost, match="gone"):
        kept.result("k3f9x2m7.17")
    kept.keep(ended("value"))  # it is asked for once more
    assert kept.result("k3f9x2m7.17") == "value"
    (tmp_path / "file").write_text("")
    with pytest.raises(MeshError, match="cannot be written"):
        Kept(tmp_path / "file").keep(ended("value"))


def keep_some(folder: str, first: int) -> None:
    for i in range(first, first + 40):
        Kept(folder).keep(ended(f"value {i % 20}", f"k3f9x2m7.{i % 40}"), f"name {i % 20}")


def test_several_processes_keep_the_same_at_once(tmp_path: Path) -> None:
    with ProcessPoolExecutor(3, mp_context=get_context("spawn")) as pool:
        for each in [pool.submit(keep_some, str(tmp_path), 7 * n) for n in range(6)]:
            each.result(60)

    assert len(objects(tmp_path)) == 20 and not list(tmp_path.glob("part-*"))
    for i in range(40):
        assert Kept(tmp_path).result(f"k3f9x2m7.{i}") == f"value {i % 20}"
        assert Kept(tmp_path).result(f"name {i % 20}") == f"value {i % 20}"
