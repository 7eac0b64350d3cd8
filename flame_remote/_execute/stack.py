"""How much room the stack has left: a task may run on top of another that waits for it."""

from __future__ import annotations

import sys
from typing import Final

# What one of our own operations may need, with what it calls of the user's: a __reduce__, say.
_OWN_FRAMES: Final = 120


def is_stack_nearly_full(tenths: int = 6) -> bool:
    """Say whether a further task had better not be started on top of the present frames.

    It is with so many `tenths` in use.

    Python's own limit would strike anywhere, even between two steps of our bookkeeping. A task in a
    task takes some ten frames, and C code in between counts too.
    """
    return _has_frames(sys.getrecursionlimit() * tenths // 10)


def require_stack(what: str) -> None:
    """Raise RecursionError, here and not in the midst of it, if there is no room for `what`."""
    if _has_frames(sys.getrecursionlimit() - _OWN_FRAMES):
        raise RecursionError(f"maximum recursion depth exceeded: no room is left for {what}")


def _has_frames(number: int) -> bool:
    try:
        sys._getframe(number)
    except ValueError:
        return False
    return True
