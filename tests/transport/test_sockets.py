"""The folder of a mesh's sockets: made by who comes first, removed by who leaves last."""

from __future__ import annotations

import fcntl
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import zmq

from mesh.errors import MeshError
from mesh.transport.sockets import Listener, SocketFolder, context

MESH = "k3f9x2m7"


@pytest.fixture(autouse=True)
def runtime(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where sockets go. Its path is short, as a user's is."""
    folder = tmp_path_factory.mktemp("r")
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(folder))
    return folder / "mesh"


@pytest.fixture
def sockets() -> Iterator[zmq.Context]:
    made = context()
    yield made
    made.term()


def test_who_leaves_takes_it_from_nobody_who_is_about_to_listen(sockets: zmq.Context):
    leaving = SocketFolder(MESH)
    first = Listener(sockets, leaving.path / "first.sock")
    coming = SocketFolder(MESH)

    first.close()
    leaving.leave()

    second = Listener(sockets, coming.path / "second.sock")
    second.close()
    coming.leave()
    assert not coming.path.exists()


def test_who_leaves_leaves_the_sockets_of_others(sockets: zmq.Context):
    router, worker = SocketFolder(MESH), SocketFolder(MESH)
    serving = Listener(sockets, worker.path / "worker.sock")

    router.leave()

    assert (worker.path / "worker.sock").is_socket()
    serving.close()
    worker.leave()


def test_the_last_one_removes_what_killed_ones_left(runtime: Path):
    folder = SocketFolder(MESH)
    (folder.path / "killed.sock").touch()

    folder.leave()

    assert list(runtime.iterdir()) == []


def test_one_that_is_being_removed_is_made_anew(runtime: Path):
    # Given one who is about to remove the folder, and one who comes meanwhile
    (runtime / MESH).mkdir(mode=0o700, parents=True)
    runtime.chmod(0o700)
    removing = os.open(runtime / MESH, os.O_RDONLY)
    fcntl.flock(removing, fcntl.LOCK_EX)
    made: list[SocketFolder] = []
    coming = threading.Thread(target=lambda: made.append(SocketFolder(MESH)))
    coming.start()

    # When it is gone
    (runtime / MESH).rmdir()
    os.close(removing)
    coming.join(10)

    # Then there is another
    (folder,) = made
    assert folder.path.is_dir()
    folder.leave()


def test_one_that_others_can_enter_is_refused(runtime: Path):
    (runtime / MESH).mkdir(parents=True)
    runtime.chmod(0o700)
    (runtime / MESH).chmod(0o755)

    with pytest.raises(MeshError, match="not yours alone"):
        SocketFolder(MESH)
