"""The workers: which there are, how many there may be, and how they begin and end."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Final

from flame_remote._environment import Environment
from flame_remote._ids import ActorId, WorkerId
from flame_remote._spec import Demand

from .clock import Clock
from .commands import Command, KillWorker, StartWorker, StopWorker
from .records import WorkerRecord
from .resources import cpus_of

# So many workers lost in a row before any of them reported: starting another at once is pointless.
START_ATTEMPTS: Final = 3
# While there are other workers, starting is tried again after this time.
START_PAUSE_SECONDS: Final = 1.0
# Tasks that ask for less than one CPU may run many at a time, but not without bound.
MAX_FRACTIONAL_WORKERS: Final = 64


class Fleet:
    """Keeps the workers, and says when a process is to be started or ended. Part of the scheduler.

    Worker ids are counted from 1 and never used again, so whatever comes late from a worker that
    was lost is recognised by its id.
    """

    def __init__(self, cpus: int, clock: Clock, decide: Callable[[Command], None]) -> None:
        self.cpus = cpus
        self.workers: dict[WorkerId, WorkerRecord] = {}
        self.functions: dict[WorkerId, WorkerRecord] = {}  # those that are no actor's
        self.idle: dict[WorkerId, WorkerRecord] = {}  # of those; most recently used last
        self.blocked: dict[WorkerId, WorkerRecord] = {}  # of those; a task waits for objects
        self._failed_starts = 0
        self._no_starts_until = 0.0
        self._ids = itertools.count(1)
        self._clock = clock
        self._decide = decide

    # --- they begin -----------------------------------------------------------------------

    @property
    def pauses(self) -> bool:
        """Whether starting has failed so often that it is left for a while."""
        return self._clock.now < self._no_starts_until

    def may_start(self, demand: Demand) -> bool:
        """Say whether there may be one more worker of functions, for a task that asks for `demand`.

        Bounded, so that tasks which wait for tasks cannot fill the machine with processes.
        """
        if self.pauses:
            return False
        if len(self.functions) < 2 * self.cpus + 2:
            return True
        cpus = sum(units for _, units in cpus_of(demand))
        return cpus < Demand.UNIT and len(self.functions) < MAX_FRACTIONAL_WORKERS

    def start(
        self,
        actor_id: ActorId = 0,
        concurrency: int = 1,
        environment: Environment | None = None,
        devices: tuple[int, ...] = (),
    ) -> WorkerRecord:
        """Have a process started, for one actor or, with 0, for functions."""
        worker = WorkerRecord(next(self._ids), actor_id, concurrency, environment, devices)
        self.workers[worker.id] = worker
        if not actor_id:
            self.functions[worker.id] = worker
        self._decide(StartWorker(worker.id, actor_id, environment, devices))
        return worker

    def hear(self, worker_id: WorkerId) -> WorkerRecord | None:
        """Note that a worker has reported; return it, None if it was lost or stopped before."""
        worker = self.workers.get(worker_id)
        if worker is not None:
            worker.quiet_since = self._clock.now
            if not worker.heard:
                worker.heard = True
                worker.heard_at = self._clock.now
                self._failed_starts = 0
                self._no_starts_until = 0.0
        return worker

    def start_failed(self) -> bool:
        """Note that a worker ended before it reported; say whether that was once too often.

        While there are other workers of functions, starting is tried again later.
        """
        self._failed_starts += 1
        if self._failed_starts < START_ATTEMPTS:
            return False
        if self.functions:
            self._no_starts_until = self._clock.now + START_PAUSE_SECONDS
            self.remind()
        else:
            self._failed_starts = 0
        return True

    def remind(self) -> None:
        """Ask for a Tick when a pause ends, if there is one."""
        if self.pauses:
            self._clock.wake_at(self._no_starts_until)

    # --- they are busy or not -------------------------------------------------------------

    def rest(self, worker: WorkerRecord) -> None:
        """A worker of functions has nothing to do, and may get something."""
        self.idle[worker.id] = worker

    def find_idle(
        self, environment: Environment | None, devices: tuple[int, ...]
    ) -> WorkerRecord | None:
        """Return the most recently used idle worker of that environment with those GPUs."""
        for worker in reversed(self.idle.values()):
            if worker.environment == environment and worker.devices == devices:
                return worker
        return None

    def note_waits(self, worker: WorkerRecord) -> None:
        """The waits of a worker's tasks, in `worker.blocked`, have changed."""
        if worker.blocked and not worker.actor_id:
            self.blocked[worker.id] = worker
        else:
            self.blocked.pop(worker.id, None)

    # --- they end -------------------------------------------------------------------------

    def stop_surplus(self) -> None:
        """Let idle workers go, but one for each CPU; longest idle first."""
        while len(self.idle) > self.cpus:
            self.let_go(next(iter(self.idle.values())))

    def let_go(self, worker: WorkerRecord) -> None:
        """Let an idle worker go: it is forgotten at once, and its end is no event."""
        del self.idle[worker.id], self.functions[worker.id], self.workers[worker.id]
        self._decide(StopWorker(worker.id))

    def make_room(self, demand: Demand) -> None:
        """Let go of the worker that is idle for longest, if there may be no other beside it."""
        if self.idle and not self.may_start(demand):
            self.let_go(next(iter(self.idle.values())))

    def stop(self, worker: WorkerRecord) -> None:
        """Let a worker end when it has nothing left to do. It is sent nothing more.

        What it holds of the resources is free when it is lost.
        """
        if not worker.doomed:
            worker.doomed = True
            self._decide(StopWorker(worker.id))

    def kill(self, worker: WorkerRecord) -> None:
        """As `stop`, but at once, whatever it is doing."""
        if not worker.doomed:
            worker.doomed = True
            self._decide(KillWorker(worker.id))

    def lose(self, worker_id: WorkerId) -> WorkerRecord | None:
        """A worker has ended; return it, None if it was stopped as surplus."""
        worker = self.workers.pop(worker_id, None)
        for table in (self.functions, self.idle, self.blocked):
            table.pop(worker_id, None)
        return worker
