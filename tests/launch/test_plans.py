"""What launchers will run, to the letter; and that no key is in it."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from mesh import LaunchFailed, Local, Mpi, Pbs, Slurm, Ssh
from mesh.launch import hosts
from mesh.launch.hosts import Host
from mesh.launch.launched import Handed, hand_over
from mesh.launch.start import CHECK, Start, advised
from mesh.protocol.messages import VERSION_MAX, VERSION_MIN
from mesh.transport.access import Access
from mesh.transport.keys import Ring

TO = Handed("k3f9x2m7", Path("/home/u/.mesh/launches/access-k3f9x2m7.json"), Path("/home/u/3.log"))
SSH = "ssh -T -o BatchMode=yes -o ConnectTimeout=10"
IN = "< ACCESS-FILE-FOR-WORKERS"


def shown(launcher: Any) -> list[str]:
    """The lines that are run, without what they are for."""
    return [step.shown().split("\n", 1)[1] for step in launcher.plan(TO)]


def test_ssh_checks_the_first_host_and_starts_a_worker_on_each():
    check, *workers = shown(Ssh(["n1", "ann@n2:2222"], python="/opt/py", slots=4))

    assert check == f"{SSH} n1 'cd / && exec /opt/py -c '\"'\"'{CHECK}'\"'\"''"
    worker = "'cd / && exec /opt/py -m mesh worker --access - --daemon --json --slots 4'"
    assert workers == [f"{SSH} n1 {worker} {IN}", f"{SSH} -p 2222 ann@n2 {worker} {IN}"]


def test_ssh_takes_options_setup_and_slots_of_a_host():
    listed = [Host("n1", slots=8)]
    launcher = Ssh(
        listed,
        options=["-i", "key"],
        setup="module load py; conda activate y;",
        python="python",
        worker_options=["--store-quota=1GB"],
    )

    assert launcher.plan(TO)[1].argv[-3:] == [
        "key",
        "n1",
        "exec bash -lc '{ module load py; conda activate y; } && cd / && "
        "exec python -m mesh worker --access - --daemon --json --slots 8 --store-quota=1GB'",
    ]


def test_local_shares_the_cpus_among_its_workers():
    one, two = shown(Local(2, slots=3, python="py"))

    assert (
        one == two == f"sh -c 'cd / && exec py -m mesh worker --access - --daemon --json --slots 3'"
        f" {IN}"
    )
    assert shown(Local(python="py"))[0].count("--slots") == 0


def test_slurm_submits_a_script_with_a_worker_on_each_node():
    launcher = Slurm(
        nodes=4, time="01:00:00", options=["--partition=long"], python="py", setup="module load x"
    )
    (step,) = launcher.plan(TO)

    assert step.argv == ["sbatch", "--parsable", "--partition=long"] and not step.takes_access
    lines = [line for line in step.script.splitlines() if not line.startswith("py -c")]
    assert lines == [
        "#!/bin/bash -l",
        "#SBATCH --job-name=mesh-k3f9x2m7",
        "#SBATCH --nodes=4",
        "#SBATCH --ntasks-per-node=1",
        "#SBATCH --exclusive",
        "#SBATCH --time=01:00:00",
        "#SBATCH --output=/home/u/3.log",
        "module load x",
        "cd /",
        "# Said once, and not by each node",
        f"exec srun --cpu-bind=none py -m mesh worker --access {TO.access}",
    ]


@pytest.mark.parametrize(
    ("given", "managers"),
    [("1h", "01:00:00"), ("90m", "01:30:00"), ("1.5h", "01:30:00"), ("2d", "48:00:00")]
    + [("90s", "00:01:30"), ("1-02:03:04", "26:03:04"), ("1-02", "26:00:00")]
    + [("01:00:00", "01:00:00"), ("30:00", "30:00"), ("5", "5"), ("UNLIMITED", "UNLIMITED")],
)
def test_managers_are_told_a_time_in_their_own_way(given: str, managers: str):
    assert f"#SBATCH --time={managers}\n" in Slurm(time=given).plan(TO)[0].script
    assert f"#PBS -l walltime={managers}\n" in Pbs(time=given).plan(TO)[0].script


@pytest.mark.parametrize(("given", "error"), [(90, TypeError), ("0h", ValueError)])
def test_a_time_is_a_text_and_more_than_nothing(given: Any, error: type[Exception]):
    with pytest.raises(error, match="time"):
        Slurm(time=given)


def test_a_part_of_a_node_has_as_many_slots():
    (step,) = Slurm(cpus=8, python="py").plan(TO)

    assert "#SBATCH --cpus-per-task=8" in step.script and "--time" not in step.script
    assert "--cpus-per-task=8 py -m" in step.script and "--slots 8" in step.script


def test_pbs_submits_a_script_that_begins_on_each_node_with_the_setup():
    (step,) = Pbs(nodes=2, cpus=8, time="01:00:00", python="py", setup="module load x").plan(TO)

    assert step.argv == ["qsub"]
    assert "#PBS -l select=2:ncpus=8\n#PBS -l place=scatter\n" in step.script
    assert "#PBS -l walltime=01:00:00\n" in step.script
    line = f"{{ module load x; }} && cd / && exec py -m mesh worker --access {TO.access} --slots 8"
    assert step.script.endswith(f"exec pbsdsh -- bash -lc '{line}'\n")


def test_mpi_has_a_slot_a_rank():
    (step,) = Mpi(64, options=["--map-by", "core"], python="py").plan(TO)

    line = f"mpiexec -n 64 --map-by core py -m mesh worker --access {TO.access} --slots 1"
    assert step.argv == ["sh", "-c", f"exec > /home/u/3.log 2>&1; cd / && exec {line}"]


def test_a_site_may_have_a_template(tmp_path: Path):
    file = tmp_path / "job.sh"
    file.write_text("#!/bin/sh\n#SBATCH -t {{time}}\n#SBATCH -N {{nodes}}\nrun ${X} {{command}}\n")

    (step,) = Slurm(nodes=2, template=file, python="py").plan(TO)
    assert (
        step.script
        == f"#!/bin/sh\n#SBATCH -N 2\nrun ${{X}} py -m mesh worker --access {TO.access}\n"
    )
    file.write_text("{{walltime}}\n")
    with pytest.raises(ValueError, match=r"walltime.*means nothing.*command"):
        Pbs(template=file)


@pytest.mark.parametrize("launcher", [Slurm, Pbs])
def test_a_job_has_nodes(launcher: Any):
    with pytest.raises(ValueError, match="nodes must be 1 or more"):
        launcher(nodes=0)


def test_the_client_s_own_interpreter_is_the_default():
    assert f"exec {sys.executable} -m mesh" in shown(Local())[0]


def test_hosts_are_read_from_a_file(tmp_path: Path):
    file = tmp_path / "hosts"
    file.write_text("# ours\nn1 slots=8  # the big one\n\nann@n2:2222\n[fe80::1]:22\n")

    assert hosts.read(file) == [
        Host("n1", slots=8),
        Host("n2", "ann", 2222),
        Host("fe80::1", None, 22),
    ]
    assert [str(host) for host in hosts.read(file)] == ["n1", "ann@n2:2222", "[fe80::1]:22"]


@pytest.mark.parametrize("line", ["-oProxyCommand=x", "a b", "n1 slots=x", "a@b@c", "n1:99999999"])
def test_what_is_no_host_is_refused_with_its_line(tmp_path: Path, line: str):
    file = tmp_path / "hosts"
    file.write_text(f"n0\n{line}\n")

    with pytest.raises(ValueError, match="line 2"):
        hosts.read(file)


@pytest.mark.parametrize("given", [[], ["n1", "n1"], ["-n1"], "n1"])
def test_ssh_needs_hosts(given: Any):
    with pytest.raises(ValueError, match="host"):
        Ssh(given)


def test_a_mesh_that_others_cannot_reach_is_not_handed_over():
    with pytest.raises(LaunchFailed, match="--listen any"):
        hand_over(Access("k3f9x2m7", ["ipc:///run/r.sock"]))


def test_workers_are_handed_the_keys_of_a_worker_and_no_plan_has_any():
    keys = Ring.new("k3f9x2m7").admin(whole=True)
    cut = hand_over(Access("k3f9x2m7", ["tcp://10.0.0.1:5555"], keys=keys))

    assert cut.keys is not None and (cut.keys.role, cut.keys.others) == ("worker", {})
    secrets = [pair.secret for pair in [keys.own, *keys.others.values()]]
    said = [line for each in (Ssh(["n1"]), Local(), Slurm(), Pbs(), Mpi()) for line in shown(each)]
    assert not [line for line in said if any(secret in line for secret in secrets)]


def test_another_python_or_protocol_is_refused_before_it_works():
    here, start = list(sys.version_info[:2]), Start(python="py")

    start.judge(f"Welcome to n1!\n{json.dumps([*here, VERSION_MIN, VERSION_MAX])}\n", "n1")
    for said, why in (
        (json.dumps([2, 7, VERSION_MIN, VERSION_MAX]), "n1: py is Python 2.7"),
        (json.dumps([*here, VERSION_MAX + 1, VERSION_MAX + 2]), "speaks protocol"),
        ("hello", "does not say"),
    ):
        with pytest.raises(LaunchFailed, match=why):
            start.judge(said, "n1")


def test_all_launchers_take_threads_for_workers():
    for each in (Ssh(["n1"], threads=8), Local(threads=8), Slurm(threads=8), Mpi(threads=8)):
        assert "--threads 8" in shown(each)[-1]
    assert not any("--threads" in line for line in shown(Ssh(["n1"])))


@pytest.mark.parametrize(
    ("said", "advice"),
    [
        ("bash: line 1: /opt/x/bin/python3.11: No such file or directory", "name the interpreter"),
        ("zsh:1: no such file or directory: /opt/x/bin/python3.11", "name the interpreter"),
        ("sh: 1: exec: python: not found", "name the interpreter"),
        ("ModuleNotFoundError: No module named 'mesh'", "install Mesh"),
        ("/usr/bin/python3: No module named mesh", "install Mesh"),
        ("bash: line 1: module: command not found", ""),
        ("ssh: connect to host n1 port 22: Connection refused", ""),
    ],
)
def test_where_there_is_no_mesh_it_is_said_what_to_do(said: str, advice: str):
    first, _, more = advised(said).partition("\n")
    assert first == said and more.startswith(advice) and bool(more) == bool(advice)
