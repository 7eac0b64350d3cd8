"""Errors as their reader sees them: without the frames of this package."""

from __future__ import annotations


def seen_from_here(error: BaseException) -> BaseException:
    """Return an error whose traceback no longer shows the package's own frames.

    Raised at once in a function that users call, it shows that function and what is theirs.
    """
    try:
        from flame_remote._execute.frames import without_own_frames  # only needed for an error
    except ImportError:  # the interpreter is exiting, and has taken the modules apart
        return error
    return error.with_traceback(without_own_frames(error.__traceback__))
