"""Content that a client leaves with a home worker through its data port."""

from __future__ import annotations

import os
import signal
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ending import kill
from matrix import SOON

from mesh import Mesh
from mesh.client.upload import Content
from mesh.protocol.transfer import CHUNK_BYTES


def total(array: Any) -> int:
    return int(np.sum(array))


@pytest.fixture
def far(nothing_left_behind: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Mesh]:
    """A mesh whose client thinks that it is on another host."""
    monkeypatch.setattr(socket, "gethostname", lambda: "elsewhere")
    with Mesh(slots=1, settings=SOON, listen="tcp://127.0.0.1:*") as m:
        m.wait_for_slots(1, 20)
        yield m


def places_of(mesh: Mesh) -> list[Path]:
    return list((Path(mesh.folder) / "worker" / "incoming").glob("put-*"))


def test_the_chunks_of_a_content_are_its_bytes() -> None:
    parts = [b"a", bytes(range(256)) * 4096, b"", bytearray(b"xyz"), np.arange(200_000), b"end"]
    whole = b"".join(bytes(memoryview(part).cast("B")) for part in parts)
    content = Content(parts)
    offsets = content.missing[::-1]
    assert (content.size, offsets) == (len(whole), list(range(0, len(whole), CHUNK_BYTES)))
    assert b"".join(bytes(content.at(offset)) for offset in offsets) == whole


def test_large_arguments_and_puts_are_uploaded(far: Mesh) -> None:
    array = np.arange(1_000_000)
    future = far.put(array)
    assert [file.name for place in places_of(far) for file in place.iterdir()] == []
    assert (future.result(20) == array).all()
    assert far.submit(total, future).result(20) == array.sum()
    assert {far.submit(total, array + 1).result(20) for _ in range(5)} == {(array + 1).sum()}
    assert far.submit(len, bytes(CHUNK_BYTES)).result(20) == CHUNK_BYTES


def test_an_upload_goes_on_where_it_was_when_its_worker_died(far: Mesh) -> None:
    array = np.arange(5_000_000)
    worker = int(far.status()["workers"][0]["pid"])
    os.kill(worker, signal.SIGSTOP)
    results: list[int] = []
    client = threading.Thread(target=lambda: results.append(far.submit(total, array).result(60)))
    client.start()
    kill(worker)
    client.join(60)
    assert results == [array.sum()]
