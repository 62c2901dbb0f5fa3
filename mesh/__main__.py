"""``python -m mesh``: the command line."""

from __future__ import annotations

import os
import sys


def run() -> None:
    """The command line, where no file of the current folder is taken for a library of ours:
    ``-m`` puts that folder in front of all others."""
    if sys.path and sys.path[0] == os.getcwd():
        del sys.path[0]
    from .cli import main

    main()


if __name__ == "__main__":
    run()
