"""Whether a process that was killed was killed for want of memory."""

from __future__ import annotations

import os
import signal

from flame_remote._config import count_oom_kills, memory_limit_bytes


class MemoryEnds:
    """Compares the ends of workers with what the control group says. One caller at a time."""

    def __init__(self) -> None:
        self._oom_kills = count_oom_kills()

    def note(self, status: int | None) -> str:
        """Return what is to be said of a worker with that status of waitpid; "" if nothing."""
        if status is None or not os.WIFSIGNALED(status) or os.WTERMSIG(status) != signal.SIGKILL:
            return ""
        limit = memory_limit_bytes()
        group = "its control group allows"
        allowed = "" if limit is None else f" of the {limit >> 20} MiB that {group}"
        kills, self._oom_kills = self._oom_kills, count_oom_kills()
        if self._oom_kills > kills:
            return f"{allowed}; the kernel has ended a process of the group for want of memory"
        return allowed
