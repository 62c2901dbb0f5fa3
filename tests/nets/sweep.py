"""Ten thousand tasks, amid which a host is cut off, and comes back."""

from __future__ import annotations

from hosts import Host

from mesh import Mesh


def survives(m: Mesh, host: Host, slots: int) -> None:
    """All of them are done though `host` is cut off; then there are `slots` again."""
    group = m.submit_many(abs, range(10_000))
    for progress in group.progress():
        if progress.done > 2_000:
            break
    host.cut()
    assert group.results() == list(range(10_000))
    host.heal()
    m.wait_for_slots(slots, 30)
