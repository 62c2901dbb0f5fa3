"""Broken: the one error of Mesh that `concurrent.futures` has a word for.

It belongs to the tree of errors.py and is not in that file, which every slot imports: what its
other base comes with would make each start of a slot a tenth slower.
"""

from __future__ import annotations

from concurrent.futures import BrokenExecutor

from .errors import TaskFailed


class InitializerFailed(TaskFailed, BrokenExecutor):
    """The `initializer` of the task's mesh raised, in the process where the task was to run. The
    cause has its traceback.

    Example:
        >>> m = Mesh(initializer=open_detector, initargs=("/dev/none",))
        >>> m.submit(measure).result()
        Traceback (most recent call last):
        mesh.broken.InitializerFailed: the initializer of this mesh failed: FileNotFoundError: ...
    """
