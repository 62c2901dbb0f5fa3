"""Frames ⇄ envelopes: everything comes back as it went, and nothing else gets in."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import msgpack
import pytest
import shapes
from hypothesis import example, given
from hypothesis import strategies as st

from mesh.core.gathering import DONE_BYTES_MAX, DONE_TASKS_MAX, Gathering
from mesh.core.pace import WINDOW_TASKS_MAX
from mesh.protocol import codec, shape
from mesh.protocol import messages as m
from mesh.protocol.codec import (
    CROWDED_FRAME_BYTES,
    FRAME_BYTES,
    FRAMES_MAX,
    DecodeError,
    decode,
    encode,
)
from mesh.protocol.link import Envelope

numbers = st.integers(0, 2**63 - 1)
envelopes = st.builds(Envelope, numbers, numbers, numbers, shapes.messages)
submit = m.Submit([[0, b"f", {}, None, 0, [b"a", b"b"], None, None, None]])


def on_wire(envelope: Envelope) -> list[bytes]:
    return [bytes(frame) for frame in encode(envelope)]


def header_of(message: m.Message) -> list[Any]:
    return msgpack.unpackb(on_wire(Envelope(1, 1, 0, message))[0], strict_map_key=False)


def decoded(header: Any, *frames: bytes) -> Envelope:
    return decode([msgpack.packb(header), *frames])


@given(envelopes)
def test_every_message_comes_back_as_it_went(envelope: Envelope):
    assert decode(on_wire(envelope)) == envelope


@pytest.mark.parametrize("cls", m.MESSAGES.values(), ids=lambda cls: cls.__name__)
def test_a_message_has_a_check_for_each_field(cls: type[m.Message]):
    assert len(cls.SHAPE) == len(dataclasses.fields(cls))


def test_a_large_blob_travels_in_a_frame_of_its_own():
    small, large = bytes(FRAME_BYTES - 1), bytes(FRAME_BYTES)
    message = m.Submit([[0, b"f", {}, None, 0, [small, large, small, large], None, None, None]])

    frames = on_wire(Envelope(1, 1, 0, message))

    assert frames[1:] == [large, large]
    assert decode(frames).message == message


@pytest.mark.parametrize(
    "size",
    [0, CROWDED_FRAME_BYTES - 1, CROWDED_FRAME_BYTES, 8192, FRAME_BYTES - 1, FRAME_BYTES],
)
def test_a_whole_window_of_tasks_and_its_outcomes_fit_messages(size: int):
    count = WINDOW_TASKS_MAX
    options = {"priority": 2**31 - 1, "retries": 2**31 - 1, "time_limit": 1e9}
    row = ["cccccccc", 2**62, 2**62, b"f" * 16, options, [bytes(size)]]
    gathered = Gathering()
    after_long = range(2**62, 2**62 + count + DONE_TASKS_MAX + 1)  # without a router
    for counter in after_long:
        gathered.add("cccccccc", counter, counter, 0, bytes(size))

    messages = [m.Tasks([row] * count), m.Tasks([[*row[:5], [bytes(size)] * count]])]
    done = [m.Done(rows, count) for rows in gathered.take()]
    messages += done

    assert [counter for each in done for counter in each.runs[0][1]] == list(after_long)
    most = min(DONE_TASKS_MAX, DONE_BYTES_MAX // size if size else DONE_TASKS_MAX)
    assert {len(each.runs[0][1]) for each in done[:-1]} == {most}
    for message in messages:
        assert decode(on_wire(Envelope(2**62, 2**62, 2**62, message))).message == message


def test_a_frame_may_be_a_view_of_memory():
    large = bytes(range(256)) * 64
    message = m.Function(b"f", "a:f", b"c", memoryview(large))

    got = decode([memoryview(frame) for frame in encode(Envelope(1, 1, 0, message))])

    assert bytes(got.message.payload) == large


def test_a_surrogate_in_a_name_survives():
    name = "caf\udce9.dat"  # what os.listdir() makes of a name that is not UTF-8
    message = m.Submit([[0, b"f", {}, None, 0, [b""], [name], [b"m"], None]])

    assert decode(on_wire(Envelope(1, 1, 0, message))).message == message


@given(shapes.messages, st.lists(shapes.values, max_size=3))
def test_surplus_trailing_elements_are_ignored(message: m.Message, surplus: list[Any]):
    header, *frames = on_wire(Envelope(1, 2, 3, message))
    longer = [*msgpack.unpackb(header, strict_map_key=False), *surplus]

    assert decoded(longer, *frames) == Envelope(1, 2, 3, message)


@given(shapes.messages, st.data())
def test_a_missing_element_is_an_error(message: m.Message, data: st.DataObject):
    header, *frames = on_wire(Envelope(1, 2, 3, message))
    whole = msgpack.unpackb(header, strict_map_key=False)
    length = data.draw(st.integers(0, len(whole) - 1))

    with pytest.raises(DecodeError):
        decoded(whole[:length], *frames)


def test_a_missing_frame_is_an_error():
    header, _ = on_wire(Envelope(1, 1, 0, m.Function(b"f", "a:f", b"c", bytes(FRAME_BYTES))))

    with pytest.raises(DecodeError, match="Function lacks a frame"):
        decode([header])


def test_an_unknown_command_is_named():
    with pytest.raises(DecodeError, match="unknown command 99"):
        decoded([m.VERSION_MAX, 99, 1, 1, 0])


def test_another_version_is_refused_except_for_what_negotiates_it():
    for command, message in m.MESSAGES.items():
        example = {
            m.Hello: m.Hello("client", "abcdefgh", b"", 3, 4, {}, []),
            m.Error: m.Error("VersionMismatch", "this router speaks 3"),
        }.get(message)
        if example is not None:
            header = header_of(example)
            header[0] = m.VERSION_MAX + 1
            assert decoded(header).message == example
        else:
            with pytest.raises(DecodeError, match="protocol version"):
                decoded([m.VERSION_MAX + 1, command, 1, 1, 0])


@pytest.mark.parametrize(
    "header",
    [
        [2, 3, -1, 0, 0],
        [2, 3, 0, 2**63, 0],
        [2, 3, 0, 0, 1.5],
        [True, 3, 0, 0, 0],
        [2, 3, 0, 0, None],
        {"version": 2},
        "GET / HTTP/1.1",
        None,
    ],
    ids=repr,
)
def test_the_header_begins_with_five_numbers(header: Any):
    with pytest.raises(DecodeError):
        decoded(header)


def test_too_many_frames_are_refused():
    with pytest.raises(DecodeError, match="frames"):
        decode([b""] * (FRAMES_MAX + 1))
    with pytest.raises(DecodeError, match="0 frames"):
        decode([])


def test_an_oversized_header_is_refused_before_it_is_read(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(codec.msgpack, "unpackb", None)

    with pytest.raises(DecodeError, match="header of"):
        decode([bytes(codec.HEADER_BYTES_MAX + 1)])


def test_a_block_has_at_most_so_many_tasks():
    row = [0, b"f", {}, None, 0, [b""] * (m.BLOCK_TASKS_MAX + 1), None, None]

    with pytest.raises(DecodeError, match=r"Submit\.blocks"):
        decoded([m.VERSION_MAX, m.Submit.COMMAND, 1, 1, 0, [row]])


@pytest.mark.parametrize(
    "row",
    [
        [0, b"f", {}, None, 0, [], None, None],
        [0, b"f", {}, None, 0, [b""], ["a", "b"], [b"m"]],
        [0, b"f", {}, None, 0, [b""], ["a"], None],
        [0, b"f", {}, None, 0, [b""], [""], [b"m"]],
        [0, b"f", {}, None, 0, [b""], None, [b"m", b"m"]],
        [2**63, b"f", {}, None, 0, [b""], None, None],
        [0, b"f", {1: 2}, None, 0, [b""], None, None],
        [0, b"f", {}, None, 0, ["text"], None, None],
        [0, b"f", {}, None, 0, b"bytes", None, None],
        {5: [None]},
        {},
        "row",
        7,
    ],
    ids=repr,
)
def test_an_ill_formed_block_is_refused(row: Any):
    with pytest.raises(DecodeError):
        decoded([m.VERSION_MAX, m.Submit.COMMAND, 1, 1, 0, [row]])


@pytest.mark.parametrize(
    "about",
    [
        {"slots": "many"},
        {"slots": -1},
        {"slots": 1.5},
        {"window": 2**31},
        {"window": None},
        {"running": 7},
        {"running": [7]},
    ],
    ids=str,
)
def test_what_a_worker_says_of_itself_is_checked(about: dict[str, Any]):
    for message in (m.Hello("worker", "abcdefgh", b"", 1, 1, about, []), m.Report(about)):
        with pytest.raises(DecodeError, match=r"\.about has a wrong shape"):
            decode(on_wire(Envelope(1, 1, 0, message)))


def test_a_map_nests_only_so_deep():
    value: Any = 0
    for _ in range(shape.DEPTH_MAX + 1):
        value = [value]

    with pytest.raises(DecodeError, match=r"Report\.about"):
        decoded([m.VERSION_MAX, m.Report.COMMAND, 1, 1, 0, {"deep": value}])


@given(st.lists(st.binary(max_size=64), max_size=4))
@example([b""])
@example([b"\xc1"])
@example([b"GET / HTTP/1.1\r\n\r\n"])
@example([b"\xdd\xff\xff\xff\xff"])
@example([b"\x91" * 5000])
def test_random_frames_raise_nothing_but_a_decode_error(frames: list[bytes]):
    with pytest.raises(DecodeError):
        decode(frames)


wild = st.recursive(
    shapes.plain | st.integers(0, 30),
    lambda inner: st.lists(inner, max_size=8) | st.dictionaries(shapes.plain, inner, max_size=3),
    max_leaves=12,
)


@given(st.sampled_from(list(m.MESSAGES)), st.lists(wild, max_size=8), st.lists(st.binary()))
def test_random_values_raise_nothing_but_a_decode_error(
    command: int, body: list[Any], frames: list[bytes]
):
    try:
        got = decoded([m.VERSION_MAX, command, 1, 1, 0, *body], *frames)
    except DecodeError:
        return
    assert type(got.message) is m.MESSAGES[command]


@given(shapes.messages, wild, st.data())
def test_a_message_with_one_value_changed_is_refused_or_well_formed(
    message: m.Message, value: Any, data: st.DataObject
):
    header, *frames = on_wire(Envelope(1, 1, 0, message))
    whole = msgpack.unpackb(header, strict_map_key=False)
    at, key = data.draw(st.sampled_from(list(places(whole))))
    at[key] = value

    try:
        got = decoded(whole, *frames)
    except DecodeError:
        return

    for name, check in m.FIELDS[type(got.message)]:
        assert check(getattr(got.message, name))
    encode(got)


def places(value: Any) -> Any:
    """Every place inside `value` where something stands."""
    if isinstance(value, (list, dict)):
        for key in range(len(value)) if isinstance(value, list) else list(value):
            yield value, key
            yield from places(value[key])


def test_every_message_is_in_the_protocol_document():
    document = Path(m.__file__).with_name("README.md")
    if not document.exists():
        pytest.skip("the document is not written yet")

    text = document.read_text(encoding="utf-8")

    assert [cls.__name__ for cls in m.MESSAGES.values() if cls.__name__.upper() not in text] == []
