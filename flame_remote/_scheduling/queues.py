"""Tasks that could run now, if there were a worker and resources."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator

from flame_remote._environment import Environment
from flame_remote._spec import Demand

from .records import TaskRecord
from .states import TASK_TRANSITIONS, TaskState, TaskStep, advance

# Priority, depth, demand and environment: what tasks have in common that wait in one queue.
Kind = tuple[int, int, Demand, Environment | None]


class _Queue:
    """READY tasks of one kind, and some that are READY no more."""

    __slots__ = ("demand", "depth", "environment", "live", "priority", "records")

    def __init__(
        self, priority: int, depth: int, demand: Demand, environment: Environment | None
    ) -> None:
        self.priority = priority
        self.depth = depth
        self.demand = demand
        self.environment = environment
        self.records: deque[TaskRecord] = deque()
        self.live = 0  # how many tasks are READY

    def rank(self) -> tuple[int, int, int]:
        """Return what orders queues: by priority, the deepest first, then the oldest task."""
        records = self.records
        while records[0].state is not TaskState.READY:
            records.popleft()
        return -self.priority, -self.depth, records[0].spec.id


class ReadyQueues:
    """First in, first out, for each kind of task; those of higher priority and deeper ones first.

    Deeper first, because a task's children must end before it can: breadth first would start
    parents until nothing is left to run children. A record that leaves by `take` or `discard`
    stays in its deque and is skipped when it comes up. It may be READY again by then, and be in
    the deque twice: then it was pushed to the front, so it comes up there first, and what takes it
    out there is also what makes it READY no more.
    """

    def __init__(self) -> None:
        self._queues: dict[Kind, _Queue] = {}  # those with a READY task
        self._recent = _Queue(
            0, -1, Demand(), None
        )  # hashing a demand is slow: benchmark "scheduler"
        self._live = 0

    def __len__(self) -> int:
        """Return how many tasks are READY."""
        return self._live

    def push(self, record: TaskRecord) -> None:
        """Add a task that has just become READY."""
        queue = self._queue_for(record)
        queue.records.append(record)
        queue.live += 1
        self._live += 1

    def push_front(self, record: TaskRecord) -> None:
        """Add a task that was taken out before: it has waited long enough."""
        queue = self._queue_for(record)
        queue.records.appendleft(record)
        queue.live += 1
        self._live += 1

    def take(self, record: TaskRecord) -> None:
        """Take out this task, to be sent."""
        record.state = advance(TASK_TRANSITIONS, record.state, TaskStep.SENT)
        self.discard(record)

    def discard(self, record: TaskRecord) -> None:
        """Forget a task that is READY no more."""
        self._count_out(self._queue_for(record), 1)

    def pop_best(self, fits: Callable[[Demand, Environment | None], bool]) -> TaskRecord | None:
        """Take out the most urgent, then deepest, then oldest, task that fits, to be sent."""
        best: _Queue | None = None
        for queue in self._queues.values():
            if fits(queue.demand, queue.environment) and (
                best is None or queue.rank() < best.rank()
            ):
                best = queue
        return self._pop(best, 1, 0)[0] if best is not None else None

    def pop_like(self, record: TaskRecord, count: int) -> list[TaskRecord]:
        """Take out up to `count` more tasks of the same kind and target, to be sent."""
        target = record.spec.target
        kind = record.priority, record.depth, target.demand, target.environment
        queue = self._queues.get(kind)
        return self._pop(queue, count, target.id) if queue is not None else []

    def only_kind(self) -> Kind | None:
        """Return the kind that all READY tasks are of; None if they are of several."""
        return next(iter(self._queues)) if len(self._queues) == 1 else None

    def demands(self) -> Iterator[Demand]:
        """Yield what READY tasks ask for."""
        for queue in self._queues.values():
            yield queue.demand

    def __iter__(self) -> Iterator[TaskRecord]:
        """Yield the READY tasks, each once."""
        for queue in self._queues.values():
            ready = (record for record in queue.records if record.state is TaskState.READY)
            yield from dict.fromkeys(ready)

    def _queue_for(self, record: TaskRecord) -> _Queue:
        queue = self._recent
        target = record.spec.target
        demand = target.demand
        if (
            queue.demand is demand
            and queue.environment is target.environment
            and queue.depth == record.depth
            and queue.priority == record.priority
            and queue.live
        ):
            return queue
        key = (record.priority, record.depth, demand, target.environment)
        known = self._queues.get(key)
        if known is None:
            known = self._queues[key] = _Queue(*key)
        self._recent = known
        return known

    def _pop(self, queue: _Queue, count: int, target_id: int) -> list[TaskRecord]:
        """Take out up to `count` tasks from the front, while they are of that target, if not 0."""
        records = queue.records
        count = min(count, queue.live)
        popped: list[TaskRecord] = []
        while len(popped) < count:
            record = records[0]
            if record.state is TaskState.READY:
                if target_id and record.spec.target.id != target_id:
                    break
                record.state = advance(TASK_TRANSITIONS, record.state, TaskStep.SENT)
                popped.append(record)
            records.popleft()
        self._count_out(queue, len(popped))
        return popped

    def _count_out(self, queue: _Queue, count: int) -> None:
        self._live -= count
        queue.live -= count
        if not queue.live:
            del self._queues[queue.priority, queue.depth, queue.demand, queue.environment]
            queue.records.clear()  # those skipped may be the last to know code with refs in it
