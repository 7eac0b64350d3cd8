"""Errors that nobody has asked for, and nobody can any more."""

from __future__ import annotations

from .failure import Failure


def was_cancelled(data: bytes) -> bool:
    """Say whether a failure is that of a task that was cancelled, or needed one that was."""
    return Failure.load(data).chain[0].type_name.endswith(".TaskCancelledError")


def report_unread(data: bytes) -> None:
    """Log a failure whose last ref is gone without anybody having looked at it.

    As asyncio does for its tasks: one warning with the traceback. Nothing for a task that was
    cancelled: whoever did that knows.
    """
    if was_cancelled(data):
        return
    failure = Failure.load(data)
    import logging  # costs milliseconds: only once something has failed

    whose = f"of {failure.function_name}() " if failure.function_name else ""
    logging.getLogger("flame_remote").warning(
        "an error %swas never looked at; flame.get() of its ref would have raised it:\n%s",
        whose,
        failure.text.rstrip(),
    )
