"""Looks now and then how large the processes are whose calls have said how much they take.

Inside a turn. Nothing is looked at while no such call runs.
"""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Final

from flame_remote._ids import TaskId, WorkerId
from flame_remote._scheduling import events
from flame_remote._spec import TargetKind, TaskSpec

from .workers import WorkerHandle

if TYPE_CHECKING:
    from .core import Core

# A look takes 15 us for each process; in this time a process can fill some tens of megabytes.
PERIOD_SECONDS: Final = 0.02
# What a process holds at most before it has run anything: what it shares with the spawner. What it
# has more than that when it is first looked at is the call's.
_FRESH_BYTES: Final = 64 << 20
_PAGE_BYTES: Final = os.sysconf("SC_PAGE_SIZE")


class _Watched:
    """A process, the call that is accountable for it, and how much it held before that."""

    __slots__ = ("before", "limit", "task_id")

    def __init__(self, task_id: TaskId, limit: int, before: int | None) -> None:
        self.task_id = task_id
        self.limit = limit
        self.before = before  # None while it is not known


class MemoryWatch:
    """Ends the call that takes more memory than it has asked for, and its process."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._watched: dict[WorkerId, _Watched] = {}
        self.next_look: float | None = None  # on time.monotonic(); may be read by any thread

    def sent(self, worker: WorkerHandle, spec: TaskSpec) -> None:
        """Watch a worker that is about to get a call, or an actor, that has a limit."""
        before = private_bytes(worker.pid)  # None if it has yet to start
        self._watched[worker.id] = _Watched(spec.id, spec.target.limits.memory_bytes, before)
        if self.next_look is None:
            self.next_look = time.monotonic() + PERIOD_SECONDS

    def look(self, now: float) -> None:
        """Look at all of them, if it is time."""
        if self.next_look is None or now < self.next_look:
            return
        for worker_id, watched in list(self._watched.items()):
            worker = self._core.crew.workers.get(worker_id)
            if worker is None or not self._is_accountable(worker, watched):
                del self._watched[worker_id]
            elif self._exceeds(worker, watched):
                del self._watched[worker_id]
                self._end(worker, watched.task_id)
        self.next_look = now + PERIOD_SECONDS if self._watched else None

    def _is_accountable(self, worker: WorkerHandle, watched: _Watched) -> bool:
        """Say whether the call still runs there; an actor is accountable as long as it lives."""
        if worker.actor_id:
            return True
        record = self._core.scheduler.tasks.get(watched.task_id)
        return record is not None and record.worker_id == worker.id

    def _exceeds(self, worker: WorkerHandle, watched: _Watched) -> bool:
        seen = private_bytes(worker.pid)
        if seen is None:
            return False  # it has not started, or has ended
        if watched.before is None:
            watched.before = min(seen, _FRESH_BYTES)
        worker.memory_limit, worker.memory_grown = watched.limit, seen - watched.before
        return worker.memory_grown > watched.limit

    def _end(self, worker: WorkerHandle, task_id: TaskId) -> None:
        worker.why = worker.why or (
            f"was ended, having grown by {worker.memory_grown >> 20} MiB: its memory is "
            f"{worker.memory_limit >> 20} MiB"
        )
        record = self._core.scheduler.tasks.get(task_id)
        if record is None or record.spec.target.kind is TargetKind.METHOD:
            task_id = 0  # of an actor that has been constructed
        self._core.feed(events.MemoryExceeded(worker.id, task_id))


def private_bytes(pid: int) -> int | None:
    """Return how much memory is a process's own: not files, nor memory that it shares.

    None if there is no such process.
    """
    if not pid:
        return None
    try:
        with open(f"/proc/{pid}/statm", "rb") as file:
            fields = file.read().split()
        resident, shared = int(fields[1]), int(fields[2])
    except (OSError, IndexError):
        return None
    return (resident - shared) * _PAGE_BYTES
