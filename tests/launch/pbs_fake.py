"""qsub, qstat, qdel and pbsdsh as those of PBS behave: by what name it is called.

Jobs run at once, one process group each, on "nodes" that are all this host; state is in $PBS_FAKE.
It knows the directives and options that are used here, and refuses others as qsub does. Output goes
to the -o file when the job has ended; a job that has ended is told of by ``qstat -x`` alone. At the
end of its walltime a job is sent SIGTERM, and SIGKILL after KILL_DELAY_S.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

KILL_DELAY_S = 10.0

STATE = Path(os.environ["PBS_FAKE"])


def row_of(job: str) -> Path:
    return STATE / f"{job.partition('.')[0]}.json"


def qsub(arguments: list[str]) -> None:
    script = sys.stdin.read()
    directives = [line[5:].split() for line in script.splitlines() if line.startswith("#PBS ")]
    given = [word for words in directives for word in words] + arguments
    asked: dict[str, str] = {}
    while given:
        option, value = given.pop(0), given.pop(0)
        if option not in ("-N", "-l", "-j", "-o", "-q"):
            sys.exit(f"qsub: invalid option -- '{option.lstrip('-')}'")
        if option == "-q" and value != "long":
            sys.exit("qsub: Unknown queue")
        if option == "-l":
            name, _, amount = value.partition("=")
            if name == "walltime" and not re.fullmatch(r"(\d+:){0,2}\d+", amount):
                sys.exit("qsub: Illegal attribute or resource value Resource_List.walltime")
            asked[name] = amount
        else:
            asked[option] = value
    number = 1 + len(list(STATE.glob("*.json")))
    job = f"{number}.fake"
    held = asked.get("-q") == "long"
    row = {"job_state": "Q"}
    if "walltime" in asked:
        row["Resource_List.walltime"] = asked["walltime"]
    if held:
        row["comment"] = "Not Running: not enough free nodes available"
    row_of(job).write_text(json.dumps(row))
    print(job, flush=True)
    if held:
        return
    nodes = int(asked.get("select", "1").partition(":")[0])
    (STATE / f"{number}.nodes").write_text("".join(f"n{n}\n" for n in range(nodes)))
    about = {"PBS_JOBID": job, "PBS_NODEFILE": str(STATE / f"{number}.nodes")}
    (STATE / f"{number}.sh").write_text(script)
    mom = [sys.executable, __file__, "mom", job, asked["-o"]]
    null = subprocess.DEVNULL
    subprocess.Popen(
        mom, env=os.environ | about, start_new_session=True, stdin=null, stdout=null, stderr=null
    )


def mom(job: str, output: str) -> None:
    """Run a job to its end."""
    row = json.loads(row_of(job).read_text())
    begun = {"job_state": "R", "stime": time.strftime("%a %b %d %H:%M:%S %Y")}
    left_s = None
    if "Resource_List.walltime" in row:
        left_s = 0
        for number in row["Resource_List.walltime"].split(":"):
            left_s = 60 * left_s + int(number)
    with open(output, "wb") as out:
        script = row_of(job).with_suffix(".sh")
        running = subprocess.Popen(
            ["bash", "-l", script], stdout=out, stderr=out, start_new_session=True
        )
        row |= begun | {"session_id": running.pid}
        row_of(job).write_text(json.dumps(row))
        for number, patience_s in ((signal.SIGTERM, KILL_DELAY_S), (signal.SIGKILL, None)):
            try:
                code = running.wait(left_s)
                break
            except subprocess.TimeoutExpired:
                os.killpg(running.pid, number)
                left_s = patience_s
        else:
            code = running.wait()
    status = code if code >= 0 else 256 - code  # as PBS counts signals
    row_of(job).write_text(json.dumps({"job_state": "F", "Exit_status": status}))


def qstat(arguments: list[str]) -> None:
    history, job = "-x" in arguments, arguments[-1]
    if not row_of(job).exists():
        print(f"qstat: Unknown Job Id {job}", file=sys.stderr)
        sys.exit(153)
    row = json.loads(row_of(job).read_text())
    if row["job_state"] == "F" and not history:
        said = f"qstat: {job} Job has finished, use -x or -H to obtain historical job information"
        print(said, file=sys.stderr)
        sys.exit(35)
    print(f"Job Id: {job}")
    for name, value in row.items():
        print(f"    {name} = {value}")


def qdel(arguments: list[str]) -> None:
    for job in arguments:
        row = json.loads(row_of(job).read_text())
        if row["job_state"] == "F":
            print(f"qdel: Job has finished {job}", file=sys.stderr)
            sys.exit(35)
        if "session_id" in row:
            os.killpg(row["session_id"], signal.SIGTERM)
        else:
            row_of(job).write_text(json.dumps({"job_state": "F", "Exit_status": 271}))


def pbsdsh(arguments: list[str]) -> None:
    """On each node, with a bare environment."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "PBS_JOBID") if name in os.environ}
    ours = ("MESH_TEST", "PBS_FAKE")
    kept |= {name: value for name, value in os.environ.items() if name.startswith(ours)}
    nodes = Path(os.environ["PBS_NODEFILE"]).read_text().split()
    tasks = [subprocess.Popen(arguments[arguments.index("--") + 1 :], env=kept) for _ in nodes]
    sys.exit(max(task.wait() for task in tasks))


if __name__ == "__main__":
    if sys.argv[1:2] == ["mom"]:
        mom(*sys.argv[2:])
    else:
        does = {"qsub": qsub, "qstat": qstat, "qdel": qdel, "pbsdsh": pbsdsh}
        does[Path(sys.argv[0]).name](sys.argv[1:])
