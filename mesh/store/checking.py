"""Checking: whether records that are in doubt can be read, all of them.

For a child process (`inspection`), which it may cost its life: of the file that is to be written to
from now on, and of one that is only read.
"""

from __future__ import annotations

import os
from pathlib import Path

from ..core.ledger import RECORD
from ..errors import StoreError
from ..task import Kind, unkey
from . import restoring
from .reading import ReadTables
from .records import BARE, SCHEMA, TABLES, UPGRADED
from .rows import unpack
from .tables import LmdbTables, Tables


def inspect(data: Path) -> None:
    """Read all of the records at `data`, and what only a writer needs, if they can be written to.

    Raises:
        Exception: of any kind: something cannot be read. Those of another version can.
    """
    if not os.access(data, os.W_OK):
        check(ReadTables(data, TABLES, inspected=True))
        return
    tables = LmdbTables(data, TABLES, durability="disk", inspected=True)
    check(tables)
    tables.probe()
    tables.close()


def check(tables: Tables) -> None:
    """Read all of the records in `tables`.

    Raises:
        Exception: see `inspect`.
    """
    with tables.begin() as txn:
        schema = txn.get("meta", b"schema")
        if schema is None and any(map(txn.count, TABLES)):
            raise StoreError("there are rows and no schema")
        if schema is None or int(unpack(schema)) not in (SCHEMA, *UPGRADED):
            return
        for table in TABLES:
            rows = 0
            for name, value in txn.scan(table):
                rows += 1
                if table in ("block", "args", "open", "outcome", "tries", "foreign"):
                    unkey(name)
                if table not in BARE:
                    unpack(value)
                if table == "outcome":
                    Kind(RECORD.unpack_from(value)[0])
            if rows != txn.count(table):
                raise StoreError(f"table {table} has {rows} rows of {txn.count(table)}")
        if int(unpack(schema)) == SCHEMA:  # an older one would be changed here
            restoring.restored(txn, 0)
