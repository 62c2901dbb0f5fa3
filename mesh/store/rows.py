"""Rows: what tables hold, as msgpack. Names may hold what is no UTF-8."""

from __future__ import annotations

import struct
from typing import Any

import msgpack

#: A name may hold what `os.listdir` made of a file name that isn't UTF-8.
TEXT_ERRORS = "surrogatepass"

#: A lease in a key: big-endian, so that keys sort by it.
LEASE = struct.Struct(">Q")

pack = msgpack.Packer(use_bin_type=True, unicode_errors=TEXT_ERRORS).pack


def unpack(raw: bytes) -> Any:
    """What `pack` packed."""
    return msgpack.unpackb(raw, raw=False, strict_map_key=False, unicode_errors=TEXT_ERRORS)
