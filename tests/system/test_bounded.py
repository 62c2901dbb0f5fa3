"""What a mesh keeps is bounded: by its quota, and by what its clients read."""

from __future__ import annotations

import signal
from pathlib import Path

from mesh import Mesh

QUOTA_BYTES = 2_000_000


def blob(i: int) -> bytes:
    return bytes([i % 256]) * 4000


def test_beyond_its_quota_a_mesh_forgets_what_was_heard_of(tmp_path: Path) -> None:
    settings = {"heartbeat_s": 0.1, "lost_after_s": 1.0, "quota_bytes": QUOTA_BYTES}
    with Mesh(dir=tmp_path / "m", slots=2, settings=settings) as m:
        for _ in range(4):
            group = m.submit_many(blob, range(500))
            assert group.results(timeout=20) == [blob(i) for i in range(500)]
            while m.status()["tasks"]["done"] * 4000 > QUOTA_BYTES:
                m.flush()  # another round trip, in which the router goes on
        assert m.submit(pow, 2, 3).result(20) == 8


def test_a_client_that_does_not_read_hears_the_rest_when_it_reads_on(
    own_mesh: Mesh, script
) -> None:
    """The results of a stopped client are ten times what may be on its way."""
    client = script(
        """
        import os, sys
        from mesh import Mesh
        def blob(i):
            return bytes([i % 256]) * 8000
        with Mesh(access=sys.argv[1]) as m:
            group = m.submit_many(blob, range(10_000))
            m.flush()
            print("submitted", flush=True)
            rows = group.results(timeout=25)
            print(rows == [blob(i) for i in range(10_000)], flush=True)
        """,
        own_mesh.folder,
    )
    assert client.line() == "submitted"
    client.send(signal.SIGSTOP)
    while own_mesh.status()["tasks"]["done"] < 10_000:
        own_mesh.flush()
    client.send(signal.SIGCONT)

    assert client.line() == "True"
    client.finish()


def test_a_slot_that_has_grown_makes_room_for_another_between_two_tasks(script) -> None:
    """What a task leaves behind in its process, as a library with a cache does."""
    source = """
        import os
        from mesh import Mesh
        def leave(megabytes):
            import builtins
            kept = getattr(builtins, "kept", [])
            builtins.kept = kept + [bytearray(os.urandom(1)) * (megabytes * 1_000_000)]
            return os.getpid()
        with Mesh(slots=1, max_memory_per_child="150MB") as m:
            small = {m.submit(leave, 1).result(20) for _ in range(5)}
            large = [m.submit(leave, 60).result(20) for _ in range(8)]
            many = m.submit_many(leave, [1] * 300).results(timeout=20)
        print(len(small), 3 <= len(set(large)) <= 5, len(many), flush=True)
    """
    assert script(source).finish() == "1 True 300\n"
