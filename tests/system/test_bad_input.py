"""What strangers send and files say that is wrong: a clear error, and the next task works."""

from __future__ import annotations

import json
import os
import socket
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import zmq

import mesh as mesh_package
from mesh import AccessDenied, Mesh, MeshError, RouterUnreachable, VersionMismatch
from mesh.processes.local import LocalMesh, Plan
from mesh.protocol import messages as m
from mesh.protocol import outcome, transfer
from mesh.protocol.codec import decode, encode
from mesh.protocol.link import Envelope
from mesh.task import key
from mesh.transport.keys import Ring

# -- access files ---------------------------------------------------------------------------------


#: Of no mesh.
KEYS = Ring.new("k3f9x2m7").admin().as_json()


def access_at(path: Path, **fields: object) -> Path:
    path.touch(mode=0o600)
    data = {"mesh": "k3f9x2m7", "addresses": [f"ipc://{path.parent}/nobody.sock"], "schema": 1}
    path.write_text(json.dumps(data | fields))
    return path


def test_without_an_access_file_it_is_said_how_to_start_a_mesh(tmp_path: Path) -> None:
    for missing in (tmp_path / "no.json", tmp_path, "no-such-name"):
        with pytest.raises(RouterUnreachable, match=r"no access file .*: start a mesh with"):
            Mesh(access=missing)
    with pytest.raises(RouterUnreachable, match=f"start a mesh with `mesh up --dir {tmp_path}`$"):
        Mesh(access=tmp_path)
    with pytest.raises(RouterUnreachable, match="in Python access=, dir="):
        Mesh(access="no-such-name")


def test_an_access_file_that_others_can_read_is_refused_with_the_remedy(tmp_path: Path) -> None:
    file = access_at(tmp_path / "access.json")
    for mode in (0o644, 0o640, 0o604):
        file.chmod(mode)
        with pytest.raises(AccessDenied, match=f"can be read by others: chmod 600 {file}"):
            Mesh(access=file)


def test_an_access_file_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    file = access_at(tmp_path / "access.json")
    file.chmod(0)
    script = (
        "import sys; sys.path.insert(0, sys.argv[2])\n"
        "from mesh import AccessDenied, Mesh\n"
        "import os\n"
        "if not os.getuid(): os.setuid(65534)\n"  # root can read everything
        "try: Mesh(access=sys.argv[1])\n"
        "except AccessDenied as error: print(error)\n"
    )
    package = Path(mesh_package.__file__).parents[1]
    modes = {folder: folder.stat().st_mode for folder in (tmp_path, *tmp_path.parents[:2])}
    try:
        for folder, mode in modes.items():
            folder.chmod(mode | 0o011)  # so that it is the file that stops them
        done = subprocess.run(
            [sys.executable, "-c", script, file, package],
            capture_output=True,
            text=True,
            timeout=20,
        )
    finally:
        for folder, mode in modes.items():
            folder.chmod(mode)
    assert f"{file} cannot be read" in done.stdout, done.stderr


def test_an_access_file_of_somebody_else_is_refused(tmp_path: Path) -> None:
    if os.getuid():
        pytest.skip("only root can give a file away")
    file = access_at(tmp_path / "access.json")
    os.chown(file, 65534, -1)
    with pytest.raises(AccessDenied, match="belongs to uid 65534, not to you"):
        Mesh(access=file)


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "null", "3", "{}", '{"mesh": "x"}', '{"mesh": 3, "addresses": "x"}']
    + ['{"mesh": "x", "addresses": [3]}', '{"mesh": "x", "addresses": []}', "\0\0\0\0"]
    + ['{"mesh": "x", "addresses": ["ipc:///x"], "schema": 99}', "[" * 100_000]
    + ['{"mesh": "x", "addresses": ["ipc:///x"], "schema": "new"}']
    + ['{"mesh": "x", "addresses": ["ipc:///x"], "protocol": ["new", null]}'],
    ids=lambda text: text[:30],
)
def test_an_access_file_that_is_none_is_refused_by_name(tmp_path: Path, text: str) -> None:
    file = tmp_path / "access.json"
    file.touch(mode=0o600)
    file.write_text(text)
    with pytest.raises(AccessDenied, match=r"access\.json is no access file"):
        Mesh(access=file)


def test_an_access_file_of_another_protocol_is_refused_with_both_versions(tmp_path: Path) -> None:
    file = access_at(tmp_path / "access.json", protocol=[7, 9])
    with pytest.raises(VersionMismatch, match=r"speaks protocol 7 to 9, this Mesh \d+ to \d+: use"):
        Mesh(access=file)


def test_an_access_file_that_is_no_text_is_refused_by_name(tmp_path: Path) -> None:
    file = tmp_path / "access.json"
    file.touch(mode=0o600)
    file.write_bytes(b"\xff\xfe\x80" * 100)
    with pytest.raises(AccessDenied, match=r"access\.json is no access file"):
        Mesh(access=file)


@pytest.mark.parametrize(
    "address", ["nonsense", "ipc://", "tcp://127.0.0.1", "udp://x:1", "tcp://:x"]
)
def test_an_address_that_is_none_is_refused_by_name(tmp_path: Path, address: str) -> None:
    file = access_at(tmp_path / "access.json", addresses=[address])
    with pytest.raises((AccessDenied, RouterUnreachable), match=rf"{address}|{file}"):
        Mesh(access=file)


def test_where_nobody_listens_it_is_said_where(tmp_path: Path) -> None:
    with socket.socket() as bound:  # bound, and nobody listens
        bound.bind(("127.0.0.1", 0))
        address = f"tcp://127.0.0.1:{bound.getsockname()[1]}"
        here = socket.gethostname()
        file = access_at(tmp_path / "access.json", addresses=[address], pid=1, host=here, keys=KEYS)
        with pytest.raises(RouterUnreachable, match=f"no router answers .*{address}"):
            Mesh(access=file)


def test_a_listener_that_is_no_router_is_no_router(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mesh.client.connection.WELCOME_S", 3)
    with socket.create_server(("127.0.0.1", 0)) as server:  # accepts, and says nothing
        address = f"tcp://127.0.0.1:{server.getsockname()[1]}"
        file = access_at(tmp_path / "access.json", addresses=[address], keys=KEYS)
        with pytest.raises(RouterUnreachable, match=f"no router answers .*{address}"):
            Mesh(access=file)


# -- what comes in over the wire ------------------------------------------------------------------


@pytest.fixture(scope="module")
def listening(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalMesh]:
    """A mesh whose router listens on a port of this machine."""
    folder = tmp_path_factory.mktemp("listening")
    plan = Plan(folder / "own", slots=1, listen="tcp://127.0.0.1:0")
    local = LocalMesh(plan, pytest.fail)
    yield local
    with Mesh(access=folder / "own") as last:
        last.stop(drain=False)
    local.close()


@pytest.fixture
def client(listening: LocalMesh) -> Iterator[Mesh]:
    """A client of that mesh: it works before and after, on the same router."""
    with Mesh(access=listening.plan.folder) as joined:
        joined.wait_for_slots(1, 20)
        router = joined.status()["router"]
        worker = joined.status()["workers"]
        assert joined.submit(pow, 2, 3).result(20) == 8
        yield joined
        assert joined.submit(pow, 2, 4).result(20) == 16
        assert len(joined.submit(bytes, 100_000).result(20)) == 100_000
        after = joined.status()
        assert after["router"]["pid"] == router["pid"], "the router was restarted"
        assert [w["incarnation"] for w in after["workers"]] == [w["incarnation"] for w in worker]


def port_of(listening: LocalMesh) -> int:
    return int(listening.access.addresses[-1].rpartition(":")[2])


def send_raw(port: int, data: bytes) -> None:
    """Send bytes, and wait until the router has had enough of them."""
    with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
        try:
            connection.sendall(data)
            connection.shutdown(socket.SHUT_WR)
            while connection.recv(65536):
                pass
        except OSError:
            pass  # it hung up: as good


GREETING = b"\xff" + bytes(8) + b"\x7f\x03\x00NULL" + bytes(48)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\0",
        b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: 5\r\n\r\nhello" * 100,
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(500),  # TLS
        b"SSH-2.0-OpenSSH_9.2\r\n",
        bytes(range(256)) * 100,
        b"\x01\x00" * 5000,  # empty frames of the oldest protocol
        GREETING,
        GREETING + b"\x04\x19\x05READY",
        GREETING + b"\x02" + struct.pack(">Q", 1 << 62),  # an exabyte is announced
        GREETING + b"\x04\xff" + b"\xff" * 300,
        os.urandom(100_000),
    ],
    ids=["nothing", "zero", "get", "post", "tls", "ssh", "bytes", "frames", "greeting", "cut"]
    + ["exabyte", "command", "random"],
)
def test_bytes_of_a_stranger_disturb_nobody(
    listening: LocalMesh, client: Mesh, data: bytes
) -> None:
    send_raw(port_of(listening), data)


def test_a_crowd_of_half_open_connections_disturbs_nobody(
    listening: LocalMesh, client: Mesh
) -> None:
    crowd = [socket.create_connection(("127.0.0.1", port_of(listening))) for _ in range(200)]
    try:
        assert client.submit(pow, 2, 5).result(20) == 32
        for connection in crowd[::2]:
            connection.sendall(GREETING[:10])
        assert client.submit(pow, 2, 6).result(20) == 64
    finally:
        for connection in crowd:
            connection.close()


@pytest.fixture
def stranger(listening: LocalMesh) -> Iterator[zmq.Socket]:
    """A DEALER that says what it likes."""
    context = zmq.Context()
    dealer = context.socket(zmq.DEALER)
    dealer.setsockopt(zmq.LINGER, 1000)
    dealer.connect(listening.access.addresses[0])
    yield dealer
    dealer.close()
    context.term()


def answer_to(stranger: zmq.Socket, frames: list[bytes]) -> m.Message:
    stranger.send_multipart(frames)
    assert stranger.poll(10_000), "no answer"
    return decode(stranger.recv_multipart()).message


def hello(role: str = "client", who: str = "strangr2", **changes: object) -> Envelope:
    fields = {
        "version_min": m.VERSION_MIN,
        "version_max": m.VERSION_MAX,
        "about": {},
        "held": [],
    } | changes
    return Envelope(1, 0, 0, m.Hello(role, who, os.urandom(8), **fields))


@pytest.mark.parametrize(
    "frames",
    [
        [b""],
        [b"\xc1"],
        [b"\x90"],
        [b"\x95\x02\x01\x01\x00\x00"],
        [b"\x95\x02\xcd\xff\xff\x01\x00\x00"],
        [b"\x95\xff\x00\x00\x00\x00"],
        [os.urandom(1000)],
        [b"\xdd\xff\xff\xff\xff"],
        [b"\x91" * 2000],
        [b"x"] * 1000,
        [b"\xc6\xff\xff\xff\xff"],
    ],
    ids=["empty", "reserved", "short", "bare", "unknown", "negative", "random"]
    + ["array", "nested", "frames", "blob"],
)
def test_frames_that_are_no_message_get_an_error(
    client: Mesh, stranger: zmq.Socket, frames: list[bytes]
) -> None:
    answer = answer_to(stranger, frames)
    assert isinstance(answer, m.Error) and "not understood" in answer.text


def test_a_message_before_hello_is_asked_for_hello(client: Mesh, stranger: zmq.Socket) -> None:
    ask = Envelope(1, 1, 0, m.Ask(1, "status", {}))
    assert isinstance(answer_to(stranger, encode(ask)), m.Resync)


def test_a_hello_of_another_protocol_is_told_both_versions(
    client: Mesh, stranger: zmq.Socket
) -> None:
    answer = answer_to(stranger, encode(hello(version_min=7, version_max=9)))
    assert isinstance(answer, m.Error) and answer.kind == VersionMismatch.__name__
    assert "7 to 9" in answer.text


def test_who_runs_another_python_is_told_before_anything_of_it_is_unpickled(
    client: Mesh, stranger: zmq.Socket
) -> None:
    about = {"slots": 1, "window": 1, "versions": {"python": "3.99.1", "mesh": "9.9"}}
    refused = answer_to(stranger, encode(hello("worker", "wrkr4567", about=about)))
    assert isinstance(refused, m.Error) and refused.kind == VersionMismatch.__name__
    assert "you run 3.99.1" in refused.text and "Start this one with Python 3." in refused.text
    foreign = hello(who="strangr4", about={"versions": about["versions"]})
    assert isinstance(answer_to(stranger, encode(foreign)), m.Welcome)
    function = m.Function(b"p" * 16, "x", b"c", b"V\x03\x63nonsense")
    refused = answer_to(stranger, encode(Envelope(1, 1, 0, function)))
    assert isinstance(refused, m.Error) and refused.kind == VersionMismatch.__name__


def test_what_a_client_of_another_python_submits_fails_with_the_reason(
    client: Mesh, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = {"mesh": "9.9", "python": "3.99.1"}
    monkeypatch.setattr("mesh.protocol.version.own", lambda: runs)
    with Mesh(access=client.folder) as other:
        assert other.status()["mesh"] == client.status()["mesh"], "it may look"
        with pytest.raises(VersionMismatch, match=r"runs Python 3\.\d+ .*, and you run 3\.99\.1"):
            other.submit(pow, 2, 3).result(20)


@pytest.mark.parametrize(("role", "who"), [("king", "strangr2"), ("client", "x"), ("worker", "")])
def test_a_hello_of_nobody_is_refused(
    client: Mesh, stranger: zmq.Socket, role: str, who: str
) -> None:
    answer = answer_to(stranger, encode(hello(role, who)))
    assert isinstance(answer, m.Error) and "no role" in answer.text


def test_a_session_that_is_taken_is_refused(client: Mesh, stranger: zmq.Socket) -> None:
    session = client.submit(pow, 2, 3).id.partition(".")[0]
    answer = answer_to(stranger, encode(hello(who=session)))
    assert isinstance(answer, m.Error) and session in answer.text


def test_nonsense_of_a_client_costs_it_an_answer_and_nobody_else_anything(
    client: Mesh, stranger: zmq.Socket
) -> None:
    assert isinstance(answer_to(stranger, encode(hello())), m.Welcome)
    digest = b"d" * 16
    nonsense: list[m.Message] = [
        m.Ask(1, "no such question", {}),
        m.Ask(2, "count", {"spans": "x"}),
        m.Ask(3, "resolve", {"texts": [3, None, ["x"]]}),
        m.Ask(4, "group", {"session": "nobodyhr", "first": 2**63 - 1}),
        m.Ask(41, "group", {"session": "nobodyhr", "first": -1}),
        m.Ask(42, "group", {"session": 3, "first": "x"}),
        m.Ask(43, "group", {}),
        m.Ask(5, "locate", {"stores": [{}]}),
        m.Ask(6, "slots", {"count": "many"}),
        m.Ask(7, "tasks", {"states": ["asleep"], "limit": -1}),
        m.Ask(7, "tasks", {"after": ["nobody", "done"]}),
        m.Submit([[0, digest, {}, None, 0, [b"x"], None, None, None]]),
        m.Submit([[1, digest, {"colour": 3}, None, 0, [b"x"], None, None, None]]),
        m.Submit([]),
        m.Watch([["nobodyhr", 0, 3]]),
        m.Watch([["nobodyhr", 0, 2**60]]),
        m.Cancel(8, [["nobodyhr", 0, 2**60]], True),
        m.Cancel(9, [], False),
        m.Done([["nobodyhr", [1], [1], b"\0", [b"x"]]], 3),
        m.Returned([1, 2, 3], 4),
        m.Report({"slots": "many"}),
        m.Welcome("x", b"x", 1, 1, {}),
        m.Group(2**62, 2**30, "x" * 4000),
        m.Function(digest, "x", b"c", b"not a function"),
    ]
    for sequence, message in enumerate(nonsense, 1):
        number = sequence if message.SEQUENCED else sequence - 1
        stranger.send_multipart(encode(Envelope(1, number, 0, message)))
    assert client.submit(pow, 2, 5).result(20) == 32


def test_a_task_whose_function_is_nonsense_fails_alone(client: Mesh, stranger: zmq.Socket) -> None:
    who = "strangr3"
    assert isinstance(answer_to(stranger, encode(hello(who=who))), m.Welcome)
    digest = b"n" * 16
    stranger.send_multipart(encode(Envelope(1, 1, 0, m.Function(digest, "x", b"c", b"nonsense"))))
    block = [0, digest, {}, None, 0, [b"nonsense", b"", b"\x80\x05."], None, None, None]
    stranger.send_multipart(encode(Envelope(1, 2, 0, m.Submit([block]))))
    assert stranger.poll(10_000), "no answer"  # whatever it says: the tasks are there
    for i in range(3):
        with pytest.raises(MeshError, match="cannot be loaded on the worker"):
            client.result(f"{who}.{i}", 20)


def test_a_worker_that_claims_what_it_does_not_hold_changes_nothing(
    client: Mesh, stranger: zmq.Socket
) -> None:
    done = client.submit(pow, 2, 3)
    assert done.result(20) == 8
    session, _, number = done.id.partition(".")
    about = {"slots": 0, "window": 0}
    answer = answer_to(stranger, encode(hello("worker", "wrkr2345", about=about)))
    assert isinstance(answer, m.Welcome)
    claim = m.Done([[session, [int(number)], [1], b"\0", [b"forged"]]], 0)
    stranger.send_multipart(encode(Envelope(1, 1, 0, claim)))
    stranger.send_multipart(encode(Envelope(1, 2, 0, m.Done([["x" * 8, [1, 2], [1], b"", []]], 0))))
    assert client.result(done.id, 20) == 8
    stranger.send_multipart(encode(Envelope(1, 2, 0, m.Bye())))
    assert client.submit(pow, 2, 5).result(20) == 32


@pytest.mark.parametrize(
    "about",
    [{"slots": "many"}, {"slots": -1}, {"window": 2**40}, {"running": 3}, {"running": [1, 2]}],
    ids=repr,
)
def test_a_worker_that_says_nonsense_of_itself_is_refused(
    client: Mesh, stranger: zmq.Socket, about: dict
) -> None:
    answer = answer_to(stranger, encode(hello("worker", "wrkr3456", about=about)))
    assert isinstance(answer, m.Error) and "wrong shape" in answer.text
    good = hello("worker", "wrkr3456", about={"slots": 0, "window": 0})
    assert isinstance(answer_to(stranger, encode(good)), m.Welcome)
    assert isinstance(decode(stranger.recv_multipart()).message, m.Keys)
    answer = answer_to(stranger, encode(Envelope(1, 1, 0, m.Report(about))))
    assert isinstance(answer, m.Error) and "wrong shape" in answer.text
    stranger.send_multipart(encode(Envelope(1, 0, 0, m.Bye())))


def test_nonsense_at_the_door_where_results_are_fetched_disturbs_nobody(mesh: Mesh) -> None:
    future = mesh.submit(bytes, 300_000)
    assert future.exception(20) is None
    (worker,) = mesh.status()["workers"]
    folder = Path(mesh.status()["router"]["address"].removeprefix("ipc://")).parent
    context = zmq.Context()
    dealer = context.socket(zmq.DEALER)
    dealer.setsockopt(zmq.LINGER, 1000)
    dealer.connect(f"ipc://{folder}/{worker['id']}.sock")
    try:
        nonsense = [[b""], [b"x"], [os.urandom(47)], [b"x"] * 100, [b"GET / HTTP/1.1"]]
        for frames in nonsense:
            dealer.send_multipart(frames)
        top, nobody = 2**64 - 1, key("nobodys2", 2**64 - 1)
        for get in (
            transfer.Get(1, nobody, 1, 0, 0, 10),
            transfer.Get(2, nobody, top, 2**16 - 1, 0, 10),
            transfer.Get(3, nobody, top, 0, top, transfer.CHUNK_BYTES),
        ):
            dealer.send(transfer.pack_get(get))
            assert dealer.poll(10_000), "no answer"
            op, token, _, _ = transfer.parse_reply(dealer.recv_multipart()[0])
            assert (op, token) == (transfer.LOST, get.token)
        ref = outcome.parse_ref(outcome.parse(future._raw[1]).rest)
        for offset in (10**9, 2**63, top):
            dealer.send(transfer.pack_get(transfer.Get(4, ref.task, ref.lease, 0, offset, 10)))
        dealer.send(transfer.pack_get(transfer.Get(5, ref.task, ref.lease, 0, 0, 10)))
        while transfer.parse_reply(dealer.recv_multipart()[0])[1] != 5:
            pass
    finally:
        dealer.close()
        context.term()
    assert len(future.result(20)) == 300_000
    assert mesh.status()["workers"][0]["incarnation"] == worker["incarnation"]
