"""Workers that are lost, and what becomes of the tasks and the actor that they had."""

from __future__ import annotations

from collections.abc import Callable

from flame_remote._ids import TaskId

from .commands import Command, Ending, RestartActor
from .events import MemoryExceeded, WorkerLost
from .fleet import Fleet
from .leases import Leases
from .records import TaskRecord, WorkerRecord
from .states import TaskState
from .tasks import Tasks
from .waiting import runs_anywhere


class Losses:
    """Requeues what may run again, and ends the rest. Part of the scheduler."""

    def __init__(
        self, tasks: Tasks, fleet: Fleet, leases: Leases, decide: Callable[[Command], None]
    ) -> None:
        self._tasks = tasks
        self._actors = tasks.actors
        self._fleet = fleet
        self._leases = leases
        self._decide = decide

    def worker_lost(self, event: WorkerLost) -> None:
        """A worker's process has ended, or could not be started."""
        worker = self._fleet.lose(event.worker_id)
        if worker is None:
            return
        self._leases.end(worker)
        actor_id = worker.actor_id
        if actor_id and actor_id not in self._actors.table:
            self._tasks.end_calls(actor_id, worker.assigned.values())  # it had been killed
        else:
            self._recover_tasks(worker, event.last_started)
        if actor_id in self._actors.table and actor_id not in self._tasks.table:
            if self._actors.take_restart(actor_id):
                self._tasks.restart_actor(actor_id, event.last_started)
            else:
                self._tasks.end_actor(actor_id)
        was_running = worker.heard or worker.doomed or event.last_started
        if not was_running and self._fleet.start_failed():
            self._tasks.end_all(self._tasks.creations, Ending.UNSTARTABLE)
            if not self._fleet.functions:
                self._tasks.end_all(self._tasks.ready, Ending.UNSTARTABLE)

    def memory_exceeded(self, event: MemoryExceeded) -> None:
        """End a process that has grown too large, and the call that made it so for good."""
        worker = self._fleet.workers.get(event.worker_id)
        record = worker.assigned.get(event.task_id) if worker is not None else None
        if worker is None or (event.task_id and record is None):
            return  # it has ended meanwhile
        if record is not None and not record.cancelling:
            record.cancelling = True
            record.own_terms().ending = Ending.OUT_OF_MEMORY
        self._fleet.kill(worker)

    def _recover_tasks(self, worker: WorkerRecord, last_started: TaskId) -> None:
        """End or requeue what a lost worker had; last first, so that the order stays."""
        for record in reversed(worker.assigned.values()):
            if record.state is not TaskState.ASSIGNED or record.spec.actor:
                continue  # ended meanwhile, with its actor; or a call, which ends with its actor
            if record.started or record.spec.id == last_started:
                record.attempts += 1
            if record.attempts > record.spec.target.max_retries >= 0:
                if runs_anywhere(record) or not self._may_restart(record):
                    self._tasks.end(record, Ending.CRASHED)
                    continue
                record.attempts = 0
            if not record.cancelling and not runs_anywhere(record):
                self._actors.lost(record.spec.id)
            self._tasks.come_back(record)

    def _may_restart(self, creation: TaskRecord) -> bool:
        """Count a restart of an actor that was lost with its constructor; False if none is left."""
        actor_id = creation.spec.id
        if creation.cancelling or not self._actors.take_restart(actor_id):
            return False
        self._decide(RestartActor(actor_id, self._actors.table[actor_id].restarts))
        return True
