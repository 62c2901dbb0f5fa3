"""``python -m mesh``: the command line."""

from __future__ import annotations

import os
import sys
from contextlib import suppress


def run() -> None:
    """The command line, where no file of the current folder is taken for a library of ours:
    ``-m`` puts that folder in front of all others."""
    with suppress(FileNotFoundError):  # the current folder is gone: nothing is found there
        if sys.path and sys.path[0] == os.getcwd():
            del sys.path[0]
    from .cli import main

    main()


if __name__ == "__main__":
    run()
