"""Large blocks of a router or worker are mapped on their own, whatever was freed before."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

PROGRAM = """
import ctypes
from mesh.processes import allocator

class Info(ctypes.Structure):
    _fields_ = [(f"field_{n}", ctypes.c_size_t) for n in range(10)]

mallinfo = ctypes.CDLL(None).mallinfo2
mallinfo.restype = Info
mapped = lambda: mallinfo().field_4
allocator.keep_little()
bytes(16 << 20)  # freed at once: glibc would learn from it
before = mapped()
kept = bytes(1 << 20)
print(mapped() - before >= len(kept))
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another allocator")
def test_what_was_freed_teaches_the_allocator_nothing():
    command = [sys.executable, "-c", PROGRAM]

    assert subprocess.check_output(command, text=True).strip() == "True"
