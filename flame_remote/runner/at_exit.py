"""Runners that are to be closed when the interpreter exits."""

from __future__ import annotations

import atexit
import os
from typing import Protocol


class Closable(Protocol):
    """What can be closed at exit."""

    def close_at_exit(self) -> None:
        """Close it without waiting for anybody."""
        ...


# Held, so that they live until they are closed; in order of their making.
_open: dict[Closable, None] = {}


def close_at_exit(closable: Closable) -> None:
    """Have something closed at exit, unless `forget` is called first."""
    if not _open:
        # Handlers run in reverse order: this one before that of the engine, which is running.
        atexit.unregister(_close_all)
        atexit.register(_close_all)
    _open[closable] = None


def forget(closable: Closable) -> None:
    """It is closed already."""
    _open.pop(closable, None)


def _close_all() -> None:
    for closable in reversed(list(_open)):
        closable.close_at_exit()


# In a child of os.fork() they are the parent's to close.
os.register_at_fork(after_in_child=_open.clear)
