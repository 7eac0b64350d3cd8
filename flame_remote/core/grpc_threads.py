"""Waiting for the end of gRPC's threads, which nothing announces."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Set
from contextlib import suppress

_PAUSE_SECONDS = 0.0005
# What is still there may be threads of something else that was started since. If for this long no
# thread has come or gone, they are taken for such; gRPC's end within 10 ms, on an idle machine.
_QUIET_SECONDS = 0.05
_MOST_SECONDS = 1.0


def thread_ids() -> Set[int]:
    """Return the ids of all threads of this process, those of C libraries too; Linux only."""
    with suppress(FileNotFoundError):
        return {int(name) for name in os.listdir("/proc/self/task")}
    return set()


def wait_for_end(before: Set[int]) -> None:
    """Return when gRPC, of which all users are closed, has ended its threads; in 1 s at most.

    `before` is what `thread_ids` returned before gRPC was used. Each thread of gRPC starts those
    that end after it before it ends itself, so when none is left none will come.
    """
    begun = changed = time.monotonic()
    left = _started_since(before)
    while left:
        time.sleep(_PAUSE_SECONDS)
        now, now_left = time.monotonic(), _started_since(before)
        if now_left != left:
            left, changed = now_left, now
        if now - changed > _QUIET_SECONDS or now - begun > _MOST_SECONDS:
            return


def _started_since(before: Set[int]) -> Set[int]:
    """Return the threads that are new and not Python's own."""
    ours = {thread.native_id for thread in threading.enumerate()}
    return thread_ids() - before - ours
