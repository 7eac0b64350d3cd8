"""How much the cluster may do at once."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import Final

from flame_remote._proto import types_pb2

DEFAULT_MEMORY_BYTES: Final = 1 << 30


def usable_cpus() -> int:
    """Return how many CPUs this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@dataclass(frozen=True)
class Limits:
    """Limits of the scheduler.

    Args:
        instances: processes that sessions may grow to by demand, all together.
        overcommit: processes when each session that has work, but none, is given its first, and
            each one its minimum.
        starting: processes of one session that are started at once.
        bind_attempts: failed starts in a row after which a session's tasks fail.
        closed_sessions: how many are remembered.
        ended_tasks: how many are remembered of each session.
    """

    instances: int = field(default_factory=lambda: max(4, 2 * usable_cpus()))
    overcommit: int = 64
    starting: int = field(default_factory=lambda: max(2, usable_cpus()))
    bind_attempts: int = 3
    closed_sessions: int = 10_000
    ended_tasks: int = 100_000

    def default_resources(self) -> types_pb2.ResourceRequirement:
        """Return what a session takes that does not say."""
        return types_pb2.ResourceRequirement(cpu=1, memory=DEFAULT_MEMORY_BYTES, gpu=0)
