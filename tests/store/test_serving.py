"""What a worker answers who asks for a chunk of a result."""

from __future__ import annotations

import os
import resource
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest
import zmq

from mesh.core.keeping import Keeping
from mesh.processes import spool
from mesh.processes.serve import Server
from mesh.protocol import transfer
from mesh.protocol.outcome import Ref
from mesh.store.opening import open_results
from mesh.task import key

TASK = key("k3f9x2m7", 17)
CONTENT = b"a result" * 1000
GET = transfer.Get(5, TASK, 7, 0, 0, 4096)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    results, lock = open_results(tmp_path / "store", "store234", "process", lambda line: None)
    ref = Ref(TASK, 7, 0, len(CONTENT), zlib.crc32(CONTENT), results.id)
    spool.write(spool.path(results.incoming, TASK, 7, 0), [CONTENT])
    results.apply([ref])
    context = zmq.Context()
    serving = Server(context, tmp_path / "s", None, results, Keeping())
    yield serving
    serving.close()
    context.term()
    results.close()
    lock.release()


def said(server: Server, get: transfer.Get) -> tuple[int, int, int, int]:
    return transfer.parse_reply(bytes(server.relayed(transfer.pack_get(get), b"")[0]))


def test_a_chunk_is_answered_with_its_bytes(server: Server) -> None:
    head, chunk = server.relayed(transfer.pack_get(GET._replace(offset=8)), b"")
    assert transfer.parse_reply(head) == (transfer.CHUNK, 5, 8, len(CONTENT))
    assert bytes(chunk) == CONTENT[8 : 8 + 4096]


def test_what_is_not_there_is_lost(server: Server) -> None:
    assert said(server, GET._replace(lease=8))[0] == transfer.LOST


def test_who_has_no_descriptor_left_is_busy_and_has_lost_nothing(server: Server) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    free = os.dup(0)
    os.close(free)
    resource.setrlimit(resource.RLIMIT_NOFILE, (free, hard))
    try:
        answer = said(server, GET)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert answer[:2] == (transfer.BUSY, 5)
    assert said(server, GET)[0] == transfer.CHUNK
