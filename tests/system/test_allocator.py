"""Large blocks of a worker are mapped on their own, whatever was freed before, but while chunks
move."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

PROGRAM = """
import ctypes
from mesh.processes.allocator import QUIET_S, Allocator
from mesh.protocol.transfer import CHUNK_BYTES

class Info(ctypes.Structure):
    _fields_ = [(f"field_{n}", ctypes.c_size_t) for n in range(10)]

mallinfo = ctypes.CDLL(None).mallinfo2
mallinfo.restype = Info
mapped = lambda: mallinfo().field_4
allocator = Allocator()
def is_mapped(size):
    bytes(16 << 20)  # freed at once: glibc would learn from it
    before = mapped()
    kept = bytes(size)
    return mapped() - before >= len(kept)

print(is_mapped(CHUNK_BYTES))
allocator.moved(now=10.0)
print(is_mapped(CHUNK_BYTES))
allocator.tend(10.0 + QUIET_S / 2)
print(is_mapped(CHUNK_BYTES))
allocator.tend(10.0 + QUIET_S)
print(is_mapped(CHUNK_BYTES))
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another allocator")
def test_what_was_freed_teaches_the_allocator_nothing() -> None:
    command = [sys.executable, "-c", PROGRAM]

    assert subprocess.check_output(command, text=True).split() == ["True", "False", "False", "True"]
