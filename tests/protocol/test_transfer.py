"""How bytes of a stored result are asked for and served."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesh.protocol import transfer
from mesh.protocol.codec import DecodeError
from mesh.protocol.transfer import CHUNK, CHUNK_BYTES, LOST, Get
from mesh.task import key

TASK = key("k3f9x2m7", 17)

long = st.integers(0, 2**64 - 1)
tasks = st.builds(key, st.text("abc", min_size=8, max_size=8), st.integers(0, 2**63))
gets = st.builds(
    Get, long, tasks, long, st.integers(0, 2**16 - 1), long, st.integers(1, CHUNK_BYTES)
)


@given(gets)
def test_a_request_comes_back(get: Get):
    assert transfer.parse_get(transfer.pack_get(get)) == get


@pytest.mark.parametrize("length", [0, CHUNK_BYTES + 1, 2**32 - 1])
def test_a_request_for_too_much_is_refused(length: int):
    raw = transfer.pack_get(Get(1, TASK, 2, 0, 0, length))

    with pytest.raises(DecodeError, match="at most"):
        transfer.parse_get(raw)


def test_a_request_for_what_is_no_task_is_refused():
    raw = transfer.pack_get(Get(1, bytes(range(128, 144)), 2, 0, 0, 10))

    with pytest.raises(DecodeError, match="no task id"):
        transfer.parse_get(raw)


@given(long, long, long)
def test_the_head_of_a_reply_comes_back(token: int, offset: int, total: int):
    chunk, lost = transfer.pack_chunk(token, offset, total), transfer.pack_lost(token)

    assert transfer.parse_reply(chunk) == (CHUNK, token, offset, total)
    assert transfer.parse_reply(lost) == (LOST, token, 0, 0)


def test_a_reply_is_no_request_nor_the_other_way_round():
    with pytest.raises(DecodeError):
        transfer.parse_get(transfer.pack_chunk(1, 2, 3))
    with pytest.raises(DecodeError):
        transfer.parse_reply(transfer.pack_get(Get(1, TASK, 2, 0, 0, 10)))


@given(st.binary(max_size=60))
def test_random_bytes_raise_nothing_but_a_decode_error(raw: bytes):
    for parse in (transfer.parse_get, transfer.parse_reply):
        try:
            parse(raw)
        except DecodeError:
            pass
