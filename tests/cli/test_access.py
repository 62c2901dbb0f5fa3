"""Access files over TCP: by role, made beforehand, cut down, taken back; and who is let in."""

from __future__ import annotations

import json
import os
import signal
import stat
from pathlib import Path
from typing import Any

import pytest
import zmq
from shell import Shell

from mesh.protocol import messages as m
from mesh.protocol.codec import decode, encode
from mesh.protocol.link import Envelope
from mesh.transport.access import Access
from mesh.transport.keys import Keys, Pair
from mesh.transport.sockets import Dialer, context

LOOPBACK = "tcp://127.0.0.1:*"


def far_file(shell: Shell, name: str, source: Path) -> Path:
    """An access file as another host has it: the router's ipc address is none of its."""
    access = json.loads(source.read_text())
    access["addresses"] = [each for each in access["addresses"] if each.startswith("tcp://")]
    file = shell.folder / name
    file.touch(mode=0o600)
    file.write_text(json.dumps(access))
    return file


def role_file(shell: Shell, role: str) -> Path:
    """What `mesh access show` cuts out for a role, as another host has it."""
    cut = shell.folder / f"{role}.cut"
    shell.mesh("access", "show", "--role", role, "-o", cut)
    assert stat.S_IMODE(cut.stat().st_mode) == 0o600
    return far_file(shell, f"{role}.json", cut)


def secrets(file: Path) -> list[str]:
    keys = json.loads(file.read_text())["keys"]
    return [keys["own"][1], *(pair[1] for pair in keys["others"].values())]


def test_workers_and_clients_join_over_tcp_with_keys_of_their_role(shell: Shell) -> None:
    up = shell.up("--listen", LOOPBACK, "--slots", 1)
    worker, client = role_file(shell, "worker"), role_file(shell, "client")
    assert len(secrets(worker)) == len(secrets(client)) == 1
    assert not {*secrets(worker)} & {*secrets(client)}

    part = shell.start("worker", "--access", worker, "--slots", 1, "--dir", shell.folder / "w")
    assert "joined mesh" in part.line()
    assert shell.mesh("submit", "--wait", "--access", client, "sim:scaled", 4).out == "40\n"
    big = shell.mesh("submit", "--wait", "--access", client, "sim:big", 300_000).out
    assert big == "x" * 300_000 + "\n"

    # What a role is not for
    refused = shell.mesh("worker", "--access", client, "--slots", 1, code=1)
    assert "for a client" in refused.err and "--role worker" in refused.err
    assert "for a worker" in shell.mesh("status", "--access", worker, code=4).err
    assert "for an admin" in shell.mesh("stop", "--access", client, code=4).err
    launch = ["launch", "local", "--access", client, "--slots", 1]
    refused = shell.mesh(*launch, code=4)
    assert f"{client}: keys of role client cannot be cut down to role worker" in refused.err
    assert "mesh access show --role worker" in refused.err
    shell.mesh("stop", "--access", role_file(shell, "admin"))
    assert part.finish().code == up.finish().code == 0


def test_a_file_is_good_after_restarts_and_at_the_same_port(shell: Shell) -> None:
    up = shell.up("--listen", LOOPBACK, "--slots", 1)
    client = role_file(shell, "client")
    assert shell.mesh("submit", "--wait", "--access", client, "sim:scaled", 4).out == "40\n"
    shell.mesh("stop")
    assert up.finish().code == 0
    up = shell.up("--listen", LOOPBACK, "--slots", 1)
    assert shell.mesh("submit", "--wait", "--access", client, "sim:scaled", 5).out == "50\n"
    shell.mesh("stop")
    assert up.finish().code == 0


def test_a_file_made_beforehand(shell: Shell) -> None:
    made = shell.folder / "made.json"
    shell.mesh("access", "new", "--access", made, "--listen", LOOPBACK)
    assert stat.S_IMODE(made.stat().st_mode) == 0o600
    assert "there already" in shell.mesh("access", "new", "--access", made, code=4).err
    refused = shell.mesh("router", "--advertise", "login1:5555", code=2)
    assert "'login1:5555' is no address that others dial: give tcp://HOST:PORT" in refused.err
    closed = ["router", "--dir", shell.folder / "closed", "--advertise", "tcp://login1:5555"]
    told = shell.mesh(*closed, code=1)
    assert "does not listen on TCP: give --listen any" in told.err
    elsewhere = "tcp://mesh.example.invalid:5555"
    new = ["access", "new", "--access", shell.folder / "other.json", "--advertise", elsewhere]
    assert shell.mesh(*new, "--json").json["addresses"] == [elsewhere]
    warned = shell.mesh("access", "show", "--role", "worker", "--access", made)
    assert "not known yet" in warned.err
    assert "no router answers" in shell.mesh("status", "--access", made, code=3).err

    router = shell.start("router", "--access", made, "--dir", shell.folder / "m")
    router.line()
    cut = shell.mesh("access", "show", "--role", "worker", "--access", made).json
    assert cut["keys"] == warned.json["keys"], "what was cut out before is good"
    assert "ring" not in cut["keys"]
    part = shell.start("worker", "--access", "-", "--slots", 1, stdin=json.dumps(cut))
    assert "joined mesh" in part.line()
    router.send(signal.SIGTERM)
    assert router.finish().code == part.finish().code == 0
    assert json.loads(made.read_text())["keys"]["ring"], "it is good for the next one"


def test_keys_that_are_taken_back_open_nothing(shell: Shell) -> None:
    up = shell.up("--listen", LOOPBACK, "--slots", 1)
    worker, client = role_file(shell, "worker"), role_file(shell, "client")
    part = shell.start("worker", "--access", worker, "--slots", 1, "--dir", shell.folder / "w")
    part.line()
    shell.mesh("access", "renew", "--role", "worker", "--role", "client")
    assert "does not know this key" in shell.mesh("status", "--access", client, code=4).err
    assert part.finish().code != 0, "it is turned away with its next word"
    late = shell.mesh("worker", "--access", worker, "--slots", 1, code=1)
    assert "does not know this key" in late.err
    assert shell.mesh("submit", "--wait", "--access", role_file(shell, "client"), "sim:scaled", 6)
    again = shell.start("worker", "--access", role_file(shell, "worker"), "--slots", 1)
    assert "joined" in again.line()
    shell.mesh("stop")
    assert again.finish().code == up.finish().code == 0


def test_a_worker_in_the_background_says_that_it_has_joined_or_why_not(shell: Shell) -> None:
    up = shell.up("--listen", LOOPBACK, "--slots", 0)
    client, worker = role_file(shell, "client"), role_file(shell, "worker")
    here = ["--daemon", "--slots", 1, "--dir", shell.folder / "w"]
    refused = shell.mesh("worker", "--access", client, *here, code=1)
    assert "for a client" in refused.err, "what its log says is told to who started it"
    part = shell.start("worker", "--access", "-", *here, "--json", stdin=worker.read_text())
    told = part.finish().json  # nothing of it holds the pipes of who started it
    assert told["slots"] == 1 and told["log"] == str(shell.folder / "w.log")
    assert told["pid"] in shell.processes() and told["mesh"] in shell.processes()[told["pid"]]
    assert shell.mesh("submit", "--wait", "sim:scaled", 4).out == "40\n"
    shell.mesh("stop")
    assert up.finish().code == 0


def test_a_mesh_on_one_host_has_no_keys(shell: Shell) -> None:
    up = shell.up("--slots", 1)
    assert "no keys" in shell.mesh("access", "show", "--role", "worker", code=4).err
    up.send(signal.SIGINT)
    up.finish()


@pytest.mark.parametrize("who", ["stranger", "other router", "in the clear"])
def test_strangers_do_not_get_in(shell: Shell, who: str) -> None:
    up = shell.up("--listen", LOOPBACK, "--slots", 1)
    access = Access.from_json(json.loads((shell.folder / "m" / "access.json").read_text()))
    assert access.keys is not None
    made = context()
    if who == "in the clear":
        dealer = made.socket(zmq.DEALER)
        dealer.setsockopt(zmq.LINGER, 0)
        dealer.connect(access.address)
        dealer.send(b"x")
        assert not dealer.poll(500)
        dealer.close()
    else:
        own = Pair.new() if who == "stranger" else access.keys.own
        server = access.keys.router if who == "stranger" else Pair.new().public
        dialer = Dialer(made, f"{access.address}#{server}", own)
        assert dialer.monitor.poll(10_000)
        changes: list[str] = []
        while not changes:
            changes += dialer.changes()
            dialer.monitor.poll(1000)
        assert "connected" not in changes
        dialer.close()
    made.term()
    assert shell.mesh("submit", "--wait", "sim:scaled", 4).out == "40\n"
    shell.mesh("stop")
    assert up.finish().code == 0


def test_who_takes_the_routing_id_of_another_has_not_his_rights(shell: Shell) -> None:
    """Who connects chooses a routing id; what it may do goes by its key, with each message."""
    up = shell.up("--listen", LOOPBACK, "--slots", 1)
    access = Access.from_json(json.loads((shell.folder / "m" / "access.json").read_text()))
    assert access.keys is not None
    made = context()
    id = b"\0abcd"

    def dial(role: str) -> zmq.Socket[bytes]:
        dealer = made.socket(zmq.DEALER)
        dealer.setsockopt(zmq.LINGER, 0)
        dealer.setsockopt(zmq.ROUTING_ID, id.replace(b"\0", b"z"))
        keys: Keys = access.cut(role).keys  # type: ignore[assignment]
        dealer.setsockopt(zmq.CURVE_SERVERKEY, keys.router.encode())
        dealer.setsockopt(zmq.CURVE_PUBLICKEY, keys.own.public.encode())
        dealer.setsockopt(zmq.CURVE_SECRETKEY, keys.own.secret.encode())
        dealer.connect(access.address)
        return dealer

    def answers(dealer: zmq.Socket[bytes], envelope: Envelope) -> bool:
        dealer.send_multipart(encode(envelope))
        return dealer.poll(1_000) > 0

    def say(dealer: zmq.Socket[bytes], envelope: Envelope) -> Any:
        assert answers(dealer, envelope) or dealer.poll(10_000)
        return decode(dealer.recv_multipart()).message

    client = dial("client")
    hello = m.Hello("client", "zzzzzzz9", os.urandom(8), m.VERSION_MIN, m.VERSION_MAX, {}, [])
    assert isinstance(say(client, Envelope(1, 0, 0, hello)), m.Welcome)
    stop = Envelope(1, 1, 0, m.Ask(1, "stop", {}))
    answer = say(client, stop)
    assert isinstance(answer, m.Tell) and answer.error == "AccessDenied"
    client.close()

    worker = dial("worker")
    status = Envelope(1, 2, 0, m.Ask(2, "status", {}))
    while not answers(worker, status):  # as long as the client's connection is there, the id is its
        worker.close()
        worker = dial("worker")
    answer = decode(worker.recv_multipart()).message
    while isinstance(answer, m.Beat):  # the router looks whether the client is still there
        answer = decode(worker.recv_multipart()).message
    assert isinstance(answer, (m.Error, m.Resync)), "no client any more"
    worker.close()
    made.term()
    shell.mesh("stop")
    assert up.finish().code == 0
