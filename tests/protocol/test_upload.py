"""How content is left with a worker, part by part."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesh.protocol import upload
from mesh.protocol.codec import DecodeError
from mesh.protocol.transfer import CHUNK_BYTES
from mesh.protocol.upload import FULL, HELD, Part
from mesh.task import key

TASK = key("k3f9x2m7", 17)

long = st.integers(0, 2**64 - 1)


@given(long, long, st.integers(0, 2**63), st.binary(min_size=1, max_size=40))
def test_a_part_comes_back(token: int, lease: int, offset: int, content: bytes) -> None:
    part = Part(token, TASK, lease, offset, offset + len(content))
    frames = [upload.pack_part(part), content]
    assert upload.is_part(frames)
    assert upload.parse_part(frames) == (part, content)


@pytest.mark.parametrize(
    ("task", "offset", "content"),
    [
        (TASK, 0, b""),
        (TASK, 0, bytes(CHUNK_BYTES + 1)),
        (TASK, 2**22, b"x"),
        (bytes(range(128, 144)), 0, b"x"),
    ],
    ids=["empty", "too much", "beyond the end", "no task"],
)
def test_what_is_no_part_is_refused(task: bytes, offset: int, content: bytes) -> None:
    with pytest.raises(DecodeError):
        upload.parse_part([upload.pack_part(Part(1, task, 2, offset, 2**22)), content])


@given(st.lists(st.binary(max_size=60), max_size=3))
def test_whatever_else_comes_is_no_part(frames: list[bytes]) -> None:
    raw = upload.pack_part(Part(1, TASK, 2, 0, 1))
    assert upload.is_part(frames) == (
        len(frames) == 2 and len(frames[0]) == len(raw) and frames[0][0] == upload.PART
    )


@given(long, long)
def test_answers_come_back(token: int, offset: int) -> None:
    for op in (HELD, upload.BUSY, upload.AWAY):
        assert upload.parse_answer(upload.pack_answer(op, token, offset)) == (op, token, offset)
    assert upload.parse_answer(upload.pack_full(token)) == (FULL, token, 0)
    with pytest.raises(DecodeError):
        upload.parse_answer(upload.pack_full(token)[:-1])
