"""The checksum of content."""

from __future__ import annotations

import subprocess
import sys
import zlib

from hypothesis import given
from hypothesis import strategies as st

from mesh.protocol import checksum

#: As where there is no wheel of isal.
WITHOUT = """
import sys
sys.modules["isal"] = None
from mesh.protocol import checksum
print(checksum.crc32.__module__, checksum.of_parts([b"ab", b"c"]))
"""


@given(st.binary(max_size=5000), st.integers(0, 2**32 - 1))
def test_it_is_the_one_of_zlib(content: bytes, before: int) -> None:
    assert checksum.crc32(content, before) == zlib.crc32(content, before)


@given(st.lists(st.binary(max_size=100)))
def test_parts_are_summed_up_as_the_whole(parts: list[bytes]) -> None:
    assert checksum.of_parts(parts) == zlib.crc32(b"".join(parts))


def test_without_isal_zlib_does_it() -> None:
    ran = subprocess.run(
        [sys.executable, "-c", WITHOUT], capture_output=True, text=True, check=True
    )
    assert ran.stdout.split() == ["zlib", str(zlib.crc32(b"abc"))]
