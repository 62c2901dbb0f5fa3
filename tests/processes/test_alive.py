"""Whether a mesh is alive: by who listens, who runs and who holds the folder."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from mesh import MeshError
from mesh.processes.alive import claim, is_alive
from mesh.store.folder import Lock
from mesh.transport.access import Access


@pytest.fixture
def access(tmp_path: Path) -> Iterator[Access]:
    """Of a mesh whose router, this process, listens."""
    address = f"ipc://{tmp_path}/router.sock"
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(tmp_path / "router.sock"))
        listening.listen()
        yield Access("k3f9x2m7", [address], os.getpid(), str(tmp_path), socket.gethostname())


def test_a_mesh_is_alive_while_its_folder_has_an_owner(access: Access, tmp_path: Path) -> None:
    owned = Lock(tmp_path)
    assert is_alive(access)
    owned.release()
    assert not is_alive(access), "it is about to end"


def test_who_listens_in_a_folder_that_nobody_here_has_owned_is_alive(access: Access) -> None:
    assert is_alive(access)


def test_who_does_not_listen_or_run_is_not(access: Access, tmp_path: Path) -> None:
    owned = Lock(tmp_path)
    (tmp_path / "router.sock").unlink()
    assert not is_alive(access)
    owned.release()


def test_an_access_file_can_be_claimed_once_the_owner_is_gone(
    access: Access, tmp_path: Path
) -> None:
    owned = Lock(tmp_path)
    access.write(tmp_path / "access.json")
    with pytest.raises(MeshError, match="is running here"):
        claim(tmp_path / "access.json")
    owned.release()
    claim(tmp_path / "access.json")
