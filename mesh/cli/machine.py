"""Machine: what `mesh doctor` looks at on this host, with no mesh about. Each check is a function
that yields what it finds; CHECKS is all of them, in their order. None leaves anything behind."""

from __future__ import annotations

import os
import resource
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from ..errors import MeshError
from ..options import show_size
from ..processes.cpus import cpus
from ..protocol import version
from ..store import folder as store_folder
from ..store.tables import MAP_BYTES, LmdbTables
from ..transport import descriptors, interfaces, libraries, sockets
from .finding import FAIL, OK, WARN, Finding

#: Wheels of pyzmq before this one have a libsodium without the fast code for this CPU.
PYZMQ_MIN = (27, 3)

#: A good build moves some 350 MB in a second of CPU, a slow one 25.
CIPHER_BYTES_S_MIN = 100e6

#: Each peer of a router takes a descriptor, and a cluster has some thousands.
DESCRIPTORS_MIN = 4096

#: With less room a mesh works, until somebody has a result; with less than the other it does not
#: even start.
ROOM_BYTES_MIN, ROOM_BYTES_LEAST = 2**30, 64 * 2**20

#: A slot is a process with a thread or two; numerical libraries start one for each CPU.
THREADS_A_SLOT = 8

#: A slot with NumPy and what users import.
SLOT_BYTES = 200 * 2**20


def check_versions() -> Iterator[Finding]:
    """What is installed."""
    runs = version.own() | libraries.versions()
    text = ", ".join(f"{name} {each or 'of unknown version'}" for name, each in runs.items())
    if is_old(runs):
        yield Finding("versions", WARN, text, "pip install -U pyzmq, for encryption is slow")
    else:
        yield Finding("versions", OK, text)


def is_old(runs: dict[str, str]) -> bool:
    """Whether pyzmq is one that encrypts slowly."""
    numbers = [int(each) for each in runs.get("pyzmq", "").split(".")[:2] if each.isdecimal()]
    return bool(numbers) and tuple(numbers) < PYZMQ_MIN


def check_cipher() -> Iterator[Finding]:
    """Whether TCP can be encrypted, and how fast."""
    try:
        speed = libraries.cipher_bytes_s()
    except MeshError as error:
        yield Finding("cipher", FAIL, f"no encrypted TCP: {error}", "pip install -U pyzmq")
        return
    if speed is None:
        yield Finding("cipher", WARN, "nothing came in time", "try again when less runs here")
        return
    text = f"CURVE moves {show_size(int(speed))} in a second of CPU"
    if speed < CIPHER_BYTES_S_MIN:
        yield Finding("cipher", WARN, text, "a slow build of libsodium: pip install -U pyzmq")
    else:
        yield Finding("cipher", OK, text)


def check_descriptors() -> Iterator[Finding]:
    """How many files may be open."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = descriptors.UNLIMITED if hard == resource.RLIM_INFINITY else hard
    slots = cpus()
    needed = max(descriptors.ROUTER, descriptors.of_worker(slots)) + descriptors.usage()[0]
    text = (
        f"{soft} allowed, {most} when they are needed; a worker with {slots} slots needs {needed}"
    )
    if most < needed:
        yield Finding("descriptors", FAIL, text, f"ulimit -Hn {DESCRIPTORS_MIN}, or fewer --slots")
    elif most < DESCRIPTORS_MIN:
        advice = f"a router needs one for each peer: ulimit -Hn {DESCRIPTORS_MIN} where it runs"
        yield Finding("descriptors", WARN, text, advice)
    else:
        yield Finding("descriptors", OK, text)


def check_processes() -> Iterator[Finding]:
    """How many processes and threads this user may have."""
    limit = resource.getrlimit(resource.RLIMIT_NPROC)[0]
    if limit == resource.RLIM_INFINITY or os.getuid() == 0:
        yield Finding("processes", OK, "as many as the machine has room for")
        return
    has, needed = _threads(), cpus() * THREADS_A_SLOT
    text = f"{limit} processes and threads allowed, {has} there, {needed} for {cpus()} slots"
    if limit - has < needed:
        yield Finding("processes", WARN, text, f"ulimit -u {has + 2 * needed}, or fewer --slots")
    else:
        yield Finding("processes", OK, text)


def _threads() -> int:
    """How many threads this user has, on Linux."""
    count = 0
    for status in Path("/proc").glob("[0-9]*/task"):
        try:
            if status.stat().st_uid == os.getuid():
                count += len(os.listdir(status))
        except OSError:
            continue  # it has just ended
    return count


def check_memory() -> Iterator[Finding]:
    """What memory this process and its children may take."""
    limits = [each for each in (_cgroup_bytes(), _address_bytes()) if each is not None]
    if not limits:
        yield Finding("memory", OK, "no limit but the machine's")
        return
    least, slots = min(limits), cpus()
    text = f"{show_size(least)} allowed, for {slots} slots"
    if least < slots * SLOT_BYTES:
        yield Finding("memory", WARN, text, "ask for more memory, or give fewer --slots")
    else:
        yield Finding("memory", OK, text)


def _cgroup_bytes() -> int | None:
    """The limit of this process's cgroup, or of one above it."""
    try:
        own = Path("/proc/self/cgroup").read_text().splitlines()[-1].rpartition(":")[2]
    except (OSError, IndexError):
        return None
    found = []
    for part in [own.lstrip("/"), *map(str, Path(own.lstrip("/")).parents)]:
        try:
            found.append(int((Path("/sys/fs/cgroup") / part / "memory.max").read_text()))
        except (OSError, ValueError):
            continue  # there is none, or it is "max"
    return min(found, default=None)


def _address_bytes() -> int | None:
    soft = resource.getrlimit(resource.RLIMIT_AS)[0]
    return None if soft == resource.RLIM_INFINITY else soft


def check_addresses() -> Iterator[Finding]:
    """By which addresses others may reach this host."""
    known = interfaces.published(interfaces.show("0.0.0.0", 1))
    far = [each for each in known if not interfaces.is_loopback(each)]
    hosts = ", ".join((interfaces.parse(each) or ("", 0))[0] for each in far)
    if far:
        yield Finding("addresses", OK, f"others may reach this host at {hosts}")
    else:
        advice = "fine for a mesh on this host alone; a router for others needs a network"
        yield Finding("addresses", WARN, "this host has no address but its own loopback", advice)


def check_sockets() -> Iterator[Finding]:
    """Whether sockets can be made where they are to be."""
    try:
        folder = sockets.SocketFolder("d0ct0r22")
    except (MeshError, OSError) as error:
        yield Finding("sockets", FAIL, str(error), "or set XDG_RUNTIME_DIR to a folder of your own")
        return
    made = sockets.context()
    try:
        sockets.Listener(made, folder.path / f"{os.getpid()}.sock").close()
        yield Finding("sockets", OK, f"in {folder.path.parent}")
    except MeshError as error:
        advice = "set XDG_RUNTIME_DIR to a local folder of your own"
        yield Finding("sockets", FAIL, str(error), advice)
    finally:
        made.term()
        folder.leave()


def check_folders() -> Iterator[Finding]:
    """Whether stores can be where they are by default: that of named meshes, and of others."""
    yield from check_folder("folder", store_folder.default_root())
    temporary = Path(tempfile.gettempdir())
    yield from check_folder("temporary", temporary)


def check_folder(check: str, folder: Path) -> Iterator[Finding]:
    """Whether a store can live in `folder`, or where it is to be made, and has room there."""
    there = next(each for each in (folder, *folder.parents) if each.exists())
    kind = store_folder.file_system_of(there) or "local"
    if store_folder.is_of_network(kind):
        advice = "a store breaks there: give --dir on a local disk, such as /var/tmp"
        yield Finding(check, FAIL, f"{folder} is on a network file system ({kind})", advice)
        return
    if not os.access(there, os.W_OK | os.X_OK):
        yield Finding(check, FAIL, f"{there} cannot be written to", "give --dir, or set TMPDIR")
        return
    free = shutil.disk_usage(there).free
    text = f"{folder} ({kind}) has room for {show_size(free)}"
    if free < ROOM_BYTES_MIN:
        verdict = FAIL if free < ROOM_BYTES_LEAST else WARN
        yield Finding(check, verdict, text, "make room, or give --dir elsewhere")
    else:
        yield Finding(check, OK, text)


def check_lmdb() -> Iterator[Finding]:
    """Whether LMDB opens, and writes."""
    try:
        with tempfile.TemporaryDirectory(prefix="mesh-doctor-") as folder:
            tables = LmdbTables(Path(folder) / "doctor.mdb", ["doctor"], durability="disk")
            try:
                with tables.begin(write=True) as transaction:
                    transaction.put("doctor", b"key", b"value")
                room = tables.room_bytes
            finally:
                tables.close()
    except (MeshError, OSError) as error:
        yield Finding("lmdb", FAIL, str(error), "set TMPDIR to a local disk with room")
        return
    text = f"opens and writes, and may grow to {show_size(room)}"
    if room < MAP_BYTES:
        yield Finding("lmdb", WARN, text, "address space is limited here: ulimit -v unlimited")
    else:
        yield Finding("lmdb", OK, text)


CHECKS: tuple[Callable[[], Iterator[Finding]], ...] = (
    check_versions,
    check_cipher,
    check_descriptors,
    check_processes,
    check_memory,
    check_addresses,
    check_sockets,
    check_folders,
    check_lmdb,
)
