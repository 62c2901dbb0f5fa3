"""What a worker and its slots say to each other."""

from __future__ import annotations

import socket
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesh.protocol import packets
from mesh.protocol.packets import File, Head

leases = st.integers(0, 2**63 - 1)
tasks = st.lists(st.tuples(leases, st.booleans(), st.binary(max_size=50)), max_size=8)


@given(st.integers(0, 2**32 - 1), st.booleans(), st.binary())
def test_a_function_comes_back(number: int, by_path: bool, payload: bytes):
    packet = packets.pack_function(number, by_path, payload)

    assert packet[0] == packets.FUNCTION
    assert packets.parse_function(packet) == (number, by_path, payload)
    assert packets.leases_of(packet) == []


def test_a_packet_says_which_files_it_speaks_of():
    rows = [(1, True, b"/a"), (2, False, b"/b"), (3, True, "/é".encode())]

    assert packets.paths_of(packets.pack_tasks(Head(0, 0, bytes(16), b""), rows)) == ["/a", "/é"]
    assert packets.paths_of(packets.pack_function(0, True, b"/f")) == ["/f"]
    assert packets.paths_of(packets.pack_function(0, False, b"/f")) == []


def test_why_a_result_waits_comes_back():
    packet = packets.pack_stuck("no room in /é")

    assert (packet[0], packets.parse_stuck(packet)) == (packets.STUCK, "no room in /é")


heads = st.builds(
    Head,
    st.integers(0, 2**32 - 1),
    st.integers(0, 2**32 - 1),
    st.binary(min_size=16, max_size=16),
    st.binary(max_size=300),
)


@given(heads, tasks)
def test_tasks_come_back_in_order(head: Head, sent: list[tuple[int, bool, bytes]]):
    rows = [(lease, by_path, memoryview(raw)) for lease, by_path, raw in sent]
    packet = packets.pack_tasks(head, rows)

    got, tasks = packets.parse_tasks(packet)

    assert packet[0] == packets.TASKS
    assert (got, list(tasks)) == (head, sent)
    assert packets.leases_of(packet) == [lease for lease, _, _ in sent]


outcomes = st.tuples(
    leases, st.integers(0, 8), st.booleans(), st.floats(0, 1e6, width=32), st.binary()
)


@given(st.lists(outcomes, min_size=1, max_size=5))
def test_outcomes_come_back_in_their_order(sent: list[tuple[int, int, bool, float, bytes]]):
    packet = packets.pack_outcomes([packets.pack_outcome(*each) for each in sent])

    assert packet[0] == packets.OUTCOMES
    assert packets.parse_outcomes(packet) == [
        (lease, kind, body, took_s, stored) for lease, kind, stored, took_s, body in sent
    ]


def test_a_slot_says_which_process_it_is():
    packet = packets.pack_ready(4_194_304)

    assert packet[0] == packets.READY
    assert packets.parse_ready(packet) == 4_194_304


@pytest.mark.skipif(sys.platform == "darwin", reason="macOS has no SOCK_SEQPACKET pairs")
def test_what_a_slot_has_not_read_can_be_taken_back_whole():
    # Given three packets, of which the slot reads one
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    kept = theirs.dup()
    with ours, theirs, kept:
        for lease in range(3):
            ours.send(packets.pack_tasks(Head(0, 0, bytes(16), b""), [(lease, False, b"x" * 1000)]))
        theirs.recv(packets.PACKET_BYTES_MAX)

        unread = [kept.recv(packets.PACKET_BYTES_MAX) for _ in range(2)]

    assert [packets.leases_of(packet) for packet in unread] == [[1], [2]]


@pytest.mark.skipif(sys.platform == "darwin", reason="macOS has no SOCK_SEQPACKET pairs")
def test_the_largest_packet_fits_the_socket_beside_another():
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs:
        for _ in range(2):
            ours.send(bytes(packets.PACKET_BYTES_MAX), socket.MSG_DONTWAIT)


def test_files_and_values_are_told_apart() -> None:
    files = [File(3, 7, "/there"), b"value", File(0, 0, "/there, too")]
    inputs, arguments = packets.parse_bundle(packets.pack_bundle(files, b"arguments"))

    assert inputs == files and arguments == b"arguments"
