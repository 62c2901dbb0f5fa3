"""``python -m mesh``: the command line."""

from __future__ import annotations

import os
import sys

from .cli import main

if __name__ == "__main__":
    # `-m` puts the current folder in front of all paths; no file there may be taken for a library.
    if sys.path and sys.path[0] == os.getcwd():
        del sys.path[0]
    main()
