"""What the driver says to workers: tasks with their code and arguments, answers to requests."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from flame_remote._ids import ObjectId, TaskId
from flame_remote._outcome import Kind
from flame_remote._scheduling import commands, events
from flame_remote._spec import TaskSpec

from .arena import SEGMENT_SHIFT
from .messages import (
    Deadlock,
    Dependency,
    LoadTarget,
    Ready,
    RunTasks,
    Segment,
    TaskEntry,
    UnloadTarget,
    Values,
)
from .objects import StoredObject
from .special import about_call
from .waits import RemoteRequest
from .workers import WorkerHandle

if TYPE_CHECKING:
    from .core import Core

_FAILED: Final = int(Kind.FAILED)
_STORED: Final = int(Kind.STORED)


class Outbound:
    """Puts together what a worker must be told. Inside a turn."""

    def __init__(self, core: Core) -> None:
        self._core = core

    # --- tasks --------------------------------------------------------------------------

    def send_tasks(self, command: commands.SendTasks) -> None:
        """Send a worker tasks, and before them the code that it does not have."""
        worker = self._core.crew.workers.get(command.worker_id)
        if worker is None:
            return  # it could not be started; they come back as its end is reported
        entries: list[TaskEntry] = []
        for record in command.records:
            spec = record.spec
            target = spec.target
            if target.method:
                name: int | str = target.method
            else:
                name = target.id
                if name not in worker.targets:
                    self._send_code(worker, spec)
            places = spec.dependencies
            if worker.actor_id == spec.id:
                places += self._core.revivals.state_of(spec.id)
            dependencies = self._dependencies(worker, spec.id, places) if places else ()
            if (about := about_call(record)) is not None:
                self._core.crew.send(worker, about)
                if target.limits.memory_bytes:
                    self._core.memory.sent(worker, spec)
            entries.append((spec.id, name, spec.payload, dependencies, not target.max_retries))
        self._core.crew.send(worker, RunTasks(command.helps, entries))

    def _send_code(self, worker: WorkerHandle, spec: TaskSpec) -> None:
        target = spec.target
        worker.targets.add(target.id)
        path = None if worker.path == sys.path else list(sys.path)
        worker.path = path or worker.path
        kind, concurrency = target.kind.value, target.max_concurrency
        self._core.crew.send(
            worker,
            LoadTarget(
                target.id,
                kind,
                target.name,
                target.code,
                concurrency,
                path,
                target.restarts.checkpoint_every,
                target.groups,
            ),
        )

    def unload(self, target_id: int) -> None:
        """Have workers forget code that nobody can call any more, and the refs that it closes over.

        The code of an actor stays: its instance lives on it.
        """
        for worker in self._core.crew.workers.values():
            if target_id in worker.targets and not worker.actor_id:
                worker.targets.remove(target_id)
                self._core.crew.send(worker, UnloadTarget(target_id))

    def _dependencies(
        self,
        worker: WorkerHandle,
        task_id: TaskId,
        places: Sequence[tuple[int | str, ObjectId]],
    ) -> tuple[Dependency, ...]:
        by_id = self._core.objects.by_id
        found: list[Dependency] = []
        for place, object_id in places:
            stored = by_id[object_id]
            found.append((place, object_id, stored.kind, self._show(worker, object_id, stored)))
            if stored.kind == _FAILED and object_id in self._core.objects.dropped:
                self._core.objects.dropped[object_id].told.add(task_id)
        return tuple(found)

    def _show(self, worker: WorkerHandle, object_id: ObjectId, stored: StoredObject) -> Any:
        """Return a value's data as a worker can read it; a stored one is pinned until it has."""
        if stored.kind != _STORED:
            return stored.data
        segment = stored.data[0]
        if segment >> SEGMENT_SHIFT != worker.id and segment not in worker.segments:
            worker.segments.add(segment)
            self._core.crew.send(
                worker, Segment(segment), [self._core.segments.descriptor(segment)]
            )
        worker.pinned[object_id] += 1
        stored.pins += 1
        return stored.data

    # --- answers ------------------------------------------------------------------------

    def answer(self, request: RemoteRequest) -> None:
        """Answer a request of a task whose wait is over."""
        worker: WorkerHandle = request.worker
        if worker.requests.pop(request.request_id, None) is None:
            return
        request.forget(self._core.objects)
        by_id = self._core.objects.by_id
        if not request.fetches:
            ready = [i for i in request.object_ids if by_id[i].kind]
            self._core.crew.send(worker, Ready(request.request_id, ready))
        else:
            self._send_values(worker, request)
        if request.blocks:
            self._core.perform(
                self._core.decide(events.TaskUnblocked(worker.id, request.request_id))
            )

    def _send_values(self, worker: WorkerHandle, request: RemoteRequest) -> None:
        by_id = self._core.objects.by_id
        for object_id in request.object_ids:
            stored = by_id[object_id]
            if stored.kind == _FAILED:
                stored.was_read = True
                failure = [(object_id, stored.kind, stored.data)]
                self._core.crew.send(worker, Values(request.request_id, failure, True))
                return
        values = [
            (object_id, by_id[object_id].kind, self._show(worker, object_id, by_id[object_id]))
            for object_id in request.object_ids
        ]
        self._core.crew.send(worker, Values(request.request_id, values, False))

    def report_deadlock(self, command: commands.ReportDeadlock) -> None:
        """Answer a request that can never be met."""
        worker = self._core.crew.workers[command.worker_id]
        if worker.requests.pop(command.request_id, None) is not None:
            cycle = tuple(f"{name}()" for name in command.cycle)
            self._core.crew.send(worker, Deadlock(command.request_id, cycle))
            self._core.feed(events.TaskUnblocked(worker.id, command.request_id))
