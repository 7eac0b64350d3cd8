"""What each call, actor, object and worker is doing, read from the driver's tables. In a turn."""

from __future__ import annotations

import math
import os
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from enum import Enum
from typing import TYPE_CHECKING, Final

from flame_remote import _ids
from flame_remote._facts import ActorInfo, CallFacts, ObjectInfo, Snapshot, TaskInfo, WorkerInfo
from flame_remote._ids import ActorId, ObjectId, TaskId, WorkerId
from flame_remote._outcome import Kind
from flame_remote._scheduling.actors import begun_calls
from flame_remote._scheduling.records import ActorRecord, TaskRecord, WorkerRecord
from flame_remote._scheduling.states import TaskState
from flame_remote._spec import Demand, TargetKind

from .objects import StoredObject, held_by
from .spill import SPILL_NUMBER

if TYPE_CHECKING:
    from .core import Core

_PAGE_BYTES: Final = os.sysconf("SC_PAGE_SIZE")


class Stage(Enum):
    """How far a call is, as people want to know it."""

    WAITING = "waiting"
    RESTING = "resting"
    QUEUED = "queued"
    STARTING = "starting"
    SENT = "sent"
    RUNNING = "running"
    BLOCKED = "blocked"


class View:
    """Reads the driver's tables; changes nothing. Inside a turn."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self.tasks = core.scheduler.tasks
        self.maker_of = core.scheduler.maker_of
        self.workers = core.scheduler.workers
        self.actors = core.scheduler.actors.table
        self.objects = core.objects.by_id

    # --- one of them ----------------------------------------------------------------------

    def stage_of(self, record: TaskRecord) -> Stage:
        """Say how far a call is."""
        if record.state is TaskState.PENDING:
            return Stage.WAITING
        if record.state is TaskState.RESTING:
            return Stage.RESTING
        worker = self.workers.get(record.worker_id)
        if record.state is not TaskState.ASSIGNED or worker is None:
            return Stage.QUEUED
        if any(request.task_id == record.spec.id for request in worker.blocked):
            return Stage.BLOCKED
        if self._has_begun(record, worker):
            return Stage.RUNNING
        if not worker.heard and not self._core.crew.progress.last_started(worker.id):
            return Stage.STARTING
        return Stage.QUEUED if record.spec.actor else Stage.SENT

    def _has_begun(self, record: TaskRecord, worker: WorkerRecord) -> bool:
        task_id = record.spec.id
        if record.started or self._core.crew.progress.last_started(worker.id) == task_id:
            return True
        actor = self.actors.get(record.spec.actor)
        # Calls that run beside each other are begun in order, and leave no word.
        if actor is None or actor.creation.spec.target.max_concurrency == 1:
            return False
        return any(begun is record for begun in begun_calls(actor))

    def pid_of(self, worker_id: WorkerId) -> int:
        """Return a worker's process, 0 if there is none or it is being started."""
        handle = self._core.crew.workers.get(worker_id)
        return 0 if handle is None else handle.pid

    def quiet_seconds(self, record: TaskRecord) -> float:
        """Return how long ago a call's worker reported last, or got something to do."""
        return max(0.0, time.monotonic() - self.workers[record.worker_id].quiet_since)

    def awaited_by(self, record: TaskRecord) -> list[ObjectId]:
        """Return what is not there yet of what a call waits for: arguments, or in `get`."""
        if record.state is TaskState.PENDING:
            wanted: Iterable[ObjectId] = [object_id for _, object_id in record.spec.dependencies]
        else:
            worker = self.workers.get(record.worker_id)
            requests = () if worker is None else worker.blocked
            task_id = record.spec.id
            wanted = [i for request in requests if request.task_id == task_id
                      for i in request.object_ids]  # fmt: skip
        return [i for i in dict.fromkeys(wanted) if i in self.objects and not self.objects[i].kind]

    def facts_of(self, task_id: TaskId) -> CallFacts:
        """Return what the driver knows of a call, or of the scope it is made in."""
        deadline = self._core.lineage.deadline_of(task_id)
        record = self.tasks.get(task_id)
        if record is None:
            return CallFacts(deadline=deadline)
        if record.terms is not None and record.terms.deadline < math.inf:
            deadline = min(record.terms.deadline, deadline or math.inf)
        spec = record.spec
        actor = self.actors.get(spec.actor)
        owner = actor.creation.spec if actor is not None else None
        if spec.target.kind is TargetKind.ACTOR:
            owner = spec
        return CallFacts(
            name=spec.target.name,
            attempt=record.starts,
            actor=_ids.show(owner.id) if owner is not None else "",
            actor_name=owner.target.name if owner is not None else "",
            resources=amounts((owner or spec).target.demand),
            deadline=deadline,
        )

    # --- all of them ----------------------------------------------------------------------

    def snapshot(self) -> Snapshot:
        """Return everything at this moment."""
        return Snapshot(
            tuple(map(self._task, self.tasks.values())),
            tuple(map(self._actor, self.actors.values())),
            tuple(self._objects()),
            tuple(map(self._worker, self.workers.values())),
        )

    def _task(self, record: TaskRecord) -> TaskInfo:
        spec = record.spec
        return TaskInfo(
            id=_ids.show(spec.id),
            name=spec.target.name,
            kind=spec.target.kind.value,
            state=self.stage_of(record).value,
            pid=self.pid_of(record.worker_id),
            actor=_ids.show(spec.actor) if spec.actor else "",
            parent=_ids.show(spec.parent) if spec.parent else "",
            attempt=record.starts,
            resources=amounts(spec.target.demand),
            waits_for=tuple(map(_ids.show, self.awaited_by(record))),
        )

    def _actor(self, actor: ActorRecord) -> ActorInfo:
        calls, spec = len(actor.in_flight), actor.creation.spec
        queued = sum(record.spec.id in self.tasks for q in actor.queues.values() for record in q)
        running = min(calls, spec.target.max_concurrency)
        naming = self._core.revivals.names.naming_of(actor.id)
        return ActorInfo(
            id=_ids.show(actor.id),
            name=spec.target.name,
            state="restarting" if actor.is_restarting else actor.state.name.lower(),
            pid=self.pid_of(actor.worker_id),
            running=running,
            queued=calls - running + queued,
            resources=amounts(spec.target.demand),
            namespace=None if naming is None else naming.namespace,
            restarts=actor.restarts,
        )

    def _objects(self) -> Iterator[ObjectInfo]:
        by_workers = Counter(i for worker in self._core.crew.workers.values() for i in worker.held)
        by_tasks = Counter(i for record in self.tasks.values() for i in held_by(record.spec))
        by_tasks.update(self._core.revivals.held())  # for constructors to come
        by_values = Counter(i for stored in self.objects.values() for i in stored.refs)
        sites = self._core.records.sites
        for object_id, stored in list(self.objects.items()):
            held = by_workers[object_id], by_tasks[object_id], by_values[object_id]
            yield ObjectInfo(
                id=_ids.show(object_id),
                name=stored.name,
                kind=_kind_of(stored),
                size_bytes=size_of(stored),
                driver_refs=max(0, stored.count - sum(held)),
                workers=held[0],
                tasks=held[1],
                values=held[2],
                pins=stored.pins,
                made_at=sites.get(object_id) if sites is not None else "",
            )

    def _worker(self, worker: WorkerRecord) -> WorkerInfo:
        started = self.tasks.get(self._core.crew.progress.last_started(worker.id))
        is_here = started is not None and started.worker_id == worker.id
        pid = self.pid_of(worker.id)
        return WorkerInfo(
            id=worker.id,
            pid=pid,
            state=_state_of(worker),
            actor=self.name_of_actor(worker.actor_id),
            task=started.spec.target.name if started is not None and is_here else "",
            calls=len(worker.assigned),
            memory_bytes=_memory_of(pid),
        )

    def name_of_actor(self, actor_id: ActorId) -> str:
        """Return an actor with its id, "" if there is none."""
        actor = self.actors.get(actor_id)
        return "" if actor is None else f"{actor.creation.spec.target.name} {_ids.show(actor_id)}"


def amounts(demand: Demand) -> dict[str, float]:
    """Return a demand as users write it."""
    return {name: units / Demand.UNIT for name, units in demand}


def size_of(stored: StoredObject) -> int:
    """Return how many bytes a value takes in memory or in the file; 0 while there is none."""
    if stored.kind == Kind.STORED:
        return int(stored.data[2])
    if isinstance(stored.data, (bytes, str)):
        return len(stored.data)
    return 8 if stored.kind == Kind.ATOM else 0


def _kind_of(stored: StoredObject) -> str:
    if stored.is_actor and stored.kind != Kind.FAILED:
        return "actor"
    if stored.kind == Kind.STORED:
        return "spilled" if stored.data[0] & SPILL_NUMBER == SPILL_NUMBER else "stored"
    return {Kind.PENDING: "pending", Kind.FAILED: "failed"}.get(Kind(stored.kind), "small")


def _state_of(worker: WorkerRecord) -> str:
    if worker.doomed:
        return "ending"
    if worker.blocked:
        return "blocked"
    if not worker.heard:
        return "starting"
    return "busy" if worker.assigned else "idle"


def _memory_of(pid: int) -> int:
    if pid:
        try:
            with open(f"/proc/{pid}/statm") as file:
                return int(file.read().split()[1]) * _PAGE_BYTES
        except OSError:  # it has just ended
            pass
    return 0
