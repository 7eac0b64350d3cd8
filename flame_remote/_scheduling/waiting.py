"""Who waits for whom: what a blocked worker may run meanwhile, and waits that can never end."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from flame_remote._ids import ActorId, TaskId, WorkerId, origin_of

from .records import ActorRecord, BlockedRequest, TaskRecord, WorkerRecord
from .states import TaskState


class WaitGraph:
    """Reads the scheduler's tables; changes nothing. Edges go from a task to what it waits for."""

    def __init__(
        self,
        tasks: Mapping[TaskId, TaskRecord],
        workers: Mapping[WorkerId, WorkerRecord],
        actors: Mapping[ActorId, ActorRecord],
    ) -> None:
        self._tasks = tasks
        self._workers = workers
        self._actors = actors

    def cycle_through(self, request: BlockedRequest) -> tuple[str, ...]:
        """Return the names of tasks by which `request` waits for itself; empty if it does not.

        A request with a time limit, or content with some of its objects, ends by itself: its edges
        do not count.
        """
        path = self._search(request.task_id)
        return tuple(self._tasks[task_id].spec.target.name for task_id in path)

    def ready_task_behind(self, request: BlockedRequest) -> TaskRecord | None:
        """Return a READY function call that `request` waits for, however indirectly.

        Running it on top of the blocked task is safe: it cannot itself wait for that task, or
        there would be a cycle.
        """
        seen: set[TaskId] = set()
        frontier = [task_id for task_id in request.object_ids if task_id in self._tasks]
        while frontier:
            task_id = frontier.pop()
            if task_id in seen:
                continue
            seen.add(task_id)
            record = self._tasks[task_id]
            if record.state is TaskState.READY and runs_anywhere(record):
                return record
            frontier.extend(self._waited_for(record, patient_only=False))
        return None

    def _search(self, start: TaskId) -> list[TaskId]:
        """Find a path from `start` back to it, depth first."""
        path = [start]
        edges = [self._waited_for(self._tasks[start])] if start in self._tasks else []
        seen: set[TaskId] = set()
        while edges:
            following = next(edges[-1], None)
            if following is None:
                edges.pop()
                path.pop()
            elif following == start:
                return path
            elif following not in seen:
                seen.add(following)
                path.append(following)
                edges.append(self._waited_for(self._tasks[following]))
        return []

    def _waited_for(self, record: TaskRecord, *, patient_only: bool = True) -> Iterator[TaskId]:
        spec = record.spec
        if record.state is TaskState.PENDING:
            yield from (object_id for _, object_id in spec.dependencies if object_id in self._tasks)
        elif record.state is TaskState.ASSIGNED:
            for request in self._workers[record.worker_id].blocked:
                if request.task_id == spec.id and (request.patient or not patient_only):
                    yield from (task for task in request.object_ids if task in self._tasks)
        actor = self._actors.get(spec.actor)
        if actor is not None:
            yield from self._calls_ahead(record, actor)

    def _calls_ahead(self, record: TaskRecord, actor: ActorRecord) -> Iterator[TaskId]:
        """Yield what an actor's call waits for beside its arguments: its constructor, the one call
        at a time that a plain actor runs, the caller's call that goes before it."""
        if actor.creation.spec.id in self._tasks:
            yield actor.creation.spec.id
            return
        if actor.creation.spec.target.max_concurrency == 1:
            running = next(iter(actor.in_flight), record.spec.id)
            if running != record.spec.id:
                yield running
        queue = actor.queues.get(origin_of(record.spec.id))
        if queue and queue[0] is not record and record.state is not TaskState.ASSIGNED:
            yield queue[0].spec.id


def runs_anywhere(record: TaskRecord) -> bool:
    """Say whether any worker of functions may run the task: it is no constructor and no method."""
    return not record.spec.target.kind.needs_own_worker
