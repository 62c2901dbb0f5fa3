"""From nothing to a mesh on three hosts, with the commands that a newcomer types."""

from __future__ import annotations

from pathlib import Path

import pytest
import sweep
from hosts import SOON, Net
from leftovers import Leftovers
from sshd import MISSING, Sshd

from mesh import Mesh


@pytest.mark.skipif(MISSING is not None, reason=str(MISSING))
def test_up_on_one_host_and_launched_on_two_others_of_which_one_is_cut_off(
    net: Net, tmp_path: Path, nothing_left_behind: Leftovers
) -> None:
    a, b, c = map(net.host, "abc")
    mark = {nothing_left_behind.VARIABLE: nothing_left_behind.mark}
    ssh = Sshd(tmp_path / "ssh")
    for host in (b, c):
        ssh.serve(host.address, [2222], mark | host.env, host.inside)
    there = ["--slots", 1, "--dir", a.folder / "mesh", "--access", a.access]
    up = a.start("up", "--listen", "any", *there, *SOON)
    while not up.line().startswith("join it"):
        pass
    launch = ["launch", "ssh", *ssh.names, "--access", a.access, "--slots", 1]
    assert a.start(*launch, "--", "-F", ssh.config).finish().code == 0

    with a.entered(), Mesh(access=a.access) as m:
        m.wait_for_slots(3, 30)
        sweep.survives(m, b, slots=3)
        assert {each["host"] for each in m.status()["workers"]} == {"a", "b", "c"}
    assert a.start("stop", "--access", a.access).finish().code == 0
    assert up.finish().code == 0
    ssh.close()
