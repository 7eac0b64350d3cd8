"""Who waits for whom: what a blocked worker may run meanwhile, and waits that can never end."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from flame_remote._ids import ActorId, ObjectId, TaskId, WorkerId
from flame_remote._spec import TargetKind

from .records import ActorRecord, BlockedRequest, Caller, TaskRecord, WorkerRecord
from .states import TaskState


class WaitGraph:
    """Reads the scheduler's tables; changes nothing. Edges go from a task to what it waits for.

    A task waits for its arguments, for what it has asked for in `get`, for what runs on top of it
    in the same worker, and, as a call of an actor, for the calls that go before it.
    """

    def __init__(
        self,
        tasks: Mapping[TaskId, TaskRecord],
        makers: Mapping[ObjectId, TaskRecord],
        workers: Mapping[WorkerId, WorkerRecord],
        actors: Mapping[ActorId, ActorRecord],
    ) -> None:
        self._tasks = tasks
        self._makers = makers
        self._workers = workers
        self._actors = actors

    def cycle_through(self, request: BlockedRequest) -> tuple[str, ...]:
        """Return the names of tasks by which `request` waits for itself; empty if it does not.

        A request with a time limit, or content with some of its objects, ends by itself, and so
        does what runs in a doomed worker: their edges do not count. Only a task that blocks can
        close a cycle: every other edge that comes into being starts at a new task, which nobody
        can wait for yet, or leads to one that has not blocked, from which no edge leads on.
        """
        path = self._search(request.task_id)
        return tuple(self._tasks[task_id].spec.target.name for task_id in path)

    def ready_tasks_behind(self, request: BlockedRequest) -> Iterator[TaskRecord]:
        """Yield the READY function calls that `request` waits for, however indirectly.

        To run one on top of the blocked task is safe: if it came to wait for that task, there
        would be a cycle anyway.
        """
        walk = _Walk(self._tasks, self._makers, self._workers, self._actors, patient_only=False)
        frontier = [task_id for task_id in request.object_ids if task_id in self._tasks]
        seen = {*frontier}
        while frontier:
            record = self._tasks[frontier.pop()]
            if record.state is TaskState.READY and runs_anywhere(record):
                yield record
            for task_id in walk.edges_from(record):
                if task_id not in seen:
                    seen.add(task_id)
                    frontier.append(task_id)

    def _search(self, start: TaskId) -> list[TaskId]:
        """Find a path from `start` back to it, depth first."""
        walk = _Walk(self._tasks, self._makers, self._workers, self._actors, patient_only=True)
        path = [start]
        edges = [walk.edges_from(self._tasks[start])]
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
                edges.append(walk.edges_from(self._tasks[following]))
        return []


class _Walk:
    """One walk along the edges, which looks at each call in an actor's queue only once."""

    def __init__(
        self,
        tasks: Mapping[TaskId, TaskRecord],
        makers: Mapping[ObjectId, TaskRecord],
        workers: Mapping[WorkerId, WorkerRecord],
        actors: Mapping[ActorId, ActorRecord],
        *,
        patient_only: bool,
    ) -> None:
        self._tasks = tasks
        self._makers = makers
        self._workers = workers
        self._actors = actors
        self._patient_only = patient_only
        self._queues: dict[tuple[ActorId, Caller], Iterator[TaskRecord]] = {}
        self._passed: set[TaskId] = set()  # calls that `_queues` have yielded

    def edges_from(self, record: TaskRecord) -> Iterator[TaskId]:
        """Yield the tasks that one waits for; of its caller's earlier calls only the new ones."""
        spec = record.spec
        if record.state is TaskState.PENDING:
            makers = self._makers
            for _, object_id in spec.dependencies:
                if object_id in self._tasks:
                    yield object_id
                elif object_id in makers:
                    yield makers[object_id].spec.id
        elif record.started:
            worker = self._workers[record.worker_id]
            if worker.doomed and self._patient_only:
                return  # it ends with its process, or is started again
            for request in worker.blocked:
                if request.task_id == spec.id and (request.patient or not self._patient_only):
                    yield from (task for task in request.object_ids if task in self._tasks)
            if not worker.actor_id:
                yield from _on_top_of(record, worker)
        actor = self._actors.get(spec.actor)
        if actor is not None:
            yield from self._goes_before(record, actor)

    def _goes_before(self, record: TaskRecord, actor: ActorRecord) -> Iterator[TaskId]:
        """Yield what an actor's call waits for beside its arguments: the constructor, the one call
        at a time that a plain actor runs, the caller's calls whose arguments are late."""
        if actor.creation.spec.id in self._tasks:
            yield actor.creation.spec.id
        elif actor.creation.spec.target.max_concurrency == 1:
            running = next(iter(actor.in_flight), record.spec.id)
            if running != record.spec.id:
                yield running
        if record.state is TaskState.ASSIGNED:
            return
        key = (actor.id, record.caller)
        queue = self._queues.setdefault(key, iter(actor.queues[record.caller]))
        while record.spec.id not in self._passed:
            earlier = next(queue)
            self._passed.add(earlier.spec.id)
            if earlier.state is TaskState.PENDING and earlier is not record:
                yield earlier.spec.id


def _on_top_of(record: TaskRecord, worker: WorkerRecord) -> Iterator[TaskId]:
    """Yield the tasks above one on a worker's stack that have been blocked.

    Even when its own `get` could return (something failed, or its time is over), it has to wait
    until they have ended.
    """
    passed = False
    for task_id, other in worker.assigned.items():
        if passed and other.started:
            yield task_id
        passed = passed or other is record


def runs_anywhere(record: TaskRecord) -> bool:
    """Say whether any worker of functions may run the task: it is no constructor and no method."""
    return record.spec.target.kind is TargetKind.FUNCTION
