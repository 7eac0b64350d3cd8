"""Tasks that could run now, if there were a worker and resources."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator

from flame_remote._spec import Demand

from .records import TaskRecord
from .states import TaskState


class ReadyQueues:
    """First in, first out, for each depth and demand; deeper tasks first.

    Deeper first, because a task's children must end before it can: breadth first would start
    parents until nothing is left to run children. A record that is no longer READY (cancelled,
    or run by a blocked worker itself) stays in its queue and is skipped when it comes up.
    """

    def __init__(self) -> None:
        self._queues: dict[tuple[int, Demand], deque[TaskRecord]] = {}
        self._live = 0

    def __len__(self) -> int:
        """Return how many tasks are READY."""
        return self._live

    def push(self, record: TaskRecord) -> None:
        """Add a task that has just become READY."""
        self._queue(record).append(record)
        self._live += 1

    def push_front(self, record: TaskRecord) -> None:
        """Add a task that was taken out before: it has waited long enough."""
        self._queue(record).appendleft(record)
        self._live += 1

    def discard(self) -> None:
        """Count out one task that stops being READY without being popped."""
        self._live -= 1

    def pop_best(self, fits: Callable[[Demand], bool]) -> TaskRecord | None:
        """Take out the deepest, then oldest, task whose demand fits."""
        keys = self._queues if len(self._queues) == 1 else sorted(self._queues, key=self._rank)
        for key in list(keys):
            if fits(key[1]) and (record := self._pop(key)) is not None:
                return record
        return None

    def pop_like(self, record: TaskRecord, count: int) -> list[TaskRecord]:
        """Take out up to `count` more tasks of the same depth, demand and target."""
        key = (record.depth, record.spec.target.demand)
        queue = self._queues.get(key)
        popped: list[TaskRecord] = []
        if queue is None:
            return popped
        target = record.spec.target
        while queue and len(popped) < count:
            head = queue[0]
            if head.state is not TaskState.READY:
                queue.popleft()
            elif head.spec.target is target or head.spec.target.id == target.id:
                popped.append(queue.popleft())
            else:
                break
        if not queue:
            del self._queues[key]
        self._live -= len(popped)
        return popped

    def has_deeper_or_other(self, record: TaskRecord) -> bool:
        """Say whether some queue other than the one of `record` has tasks."""
        return len(self._queues) > 1 or (
            bool(self._queues) and (record.depth, record.spec.target.demand) not in self._queues
        )

    def __iter__(self) -> Iterator[TaskRecord]:
        """Yield the READY tasks."""
        for queue in self._queues.values():
            for record in queue:
                if record.state is TaskState.READY:
                    yield record

    def _rank(self, key: tuple[int, Demand]) -> tuple[int, int]:
        queue = self._queues[key]
        return -key[0], queue[0].spec.id if queue else 0

    def _queue(self, record: TaskRecord) -> deque[TaskRecord]:
        key = (record.depth, record.spec.target.demand)
        queue = self._queues.get(key)
        if queue is None:
            queue = self._queues[key] = deque()
        return queue

    def _pop(self, key: tuple[int, Demand]) -> TaskRecord | None:
        queue = self._queues[key]
        while queue:
            record = queue.popleft()
            if record.state is TaskState.READY:
                if not queue:
                    del self._queues[key]
                self._live -= 1
                return record
        del self._queues[key]
        return None
