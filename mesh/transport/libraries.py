"""Libraries: which versions of pyzmq, libzmq and libsodium this process has loaded, and how fast
they encrypt: wheels of pyzmq before 27.3 have a libsodium that is fourteen times slower."""

from __future__ import annotations

import ctypes
import functools
import re
import time
from pathlib import Path

import zmq

from ..errors import MeshError
from .keys import Pair

#: Where the libraries that a process has loaded are listed: the path stands last.
_MAPS = Path("/proc/self/maps")
_SODIUM = re.compile(r"(/\S*libsodium\S*)$", re.MULTILINE)

#: What is sent to see how fast it goes: a fast build takes a tenth of a second, a slow one one.
PROBE_FRAMES = 48
PROBE_FRAME_BYTES = 512 * 1024

#: So long the probe may take.
PROBE_S = 5.0


def versions() -> dict[str, str]:
    """What is loaded here, with its version; of libsodium "" if that cannot be told."""
    return {"pyzmq": zmq.__version__, "libzmq": zmq.zmq_version(), "libsodium": _sodium()}


@functools.cache
def _sodium() -> str:
    try:
        found = _SODIUM.search(_MAPS.read_text())
        if found is None:
            return ""
        told = ctypes.CDLL(found[1]).sodium_version_string
    except (OSError, AttributeError):
        return ""
    told.restype = ctypes.c_char_p
    return bytes(told()).decode()


def cipher_bytes_s() -> float | None:
    """Bytes that CURVE moves through a loopback connection in a second of CPU, with both of its
    ends: what else runs here does not count. None: nothing came in time.

    Raises:
        MeshError: this build has no CURVE, or nothing can listen here.
    """
    own = Pair.new()
    public, secret = own.public.encode(), own.secret.encode()
    context = zmq.Context(2)  # as on two hosts, each encrypts in a thread of its own
    taker, giver = context.socket(zmq.PULL), context.socket(zmq.PUSH)
    try:
        for each in (taker, giver):
            each.setsockopt(zmq.LINGER, 0)
            each.setsockopt(zmq.CURVE_SECRETKEY, secret)
        taker.setsockopt(zmq.CURVE_SERVER, 1)
        giver.setsockopt(zmq.CURVE_PUBLICKEY, public)
        giver.setsockopt(zmq.CURVE_SERVERKEY, public)
        taker.bind("tcp://127.0.0.1:*")
        giver.connect(taker.getsockopt_string(zmq.LAST_ENDPOINT).rstrip("\0"))
        frame = bytes(PROBE_FRAME_BYTES)
        giver.send(frame, zmq.DONTWAIT)
        until = time.monotonic() + PROBE_S
        if not taker.poll(int(PROBE_S * 1000)):
            return None
        taker.recv()  # the handshake is over
        begun = time.process_time()
        for _ in range(PROBE_FRAMES):
            giver.send(frame, zmq.DONTWAIT)
        came = 0
        while came < PROBE_FRAMES and taker.poll(max(0, int((until - time.monotonic()) * 1000))):
            taker.recv()
            came += 1
        return came * PROBE_FRAME_BYTES / (time.process_time() - begun) if came else None
    except zmq.ZMQError as error:
        raise MeshError(f"nothing can be sent over this host's loopback: {error}") from error
    finally:
        context.destroy(0)
