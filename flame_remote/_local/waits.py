"""Those who wait for objects: threads of the driver, callbacks, and tasks in workers."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

from flame_remote._ids import ObjectId
from flame_remote._outcome import Kind

from .bell import Bell
from .objects import ObjectTable, StoredObject


class Waiter:
    """A thread of the driver that waits for a number of objects, or for the first failure."""

    __slots__ = ("_left", "_stop_at_failure", "bell", "done", "error", "nudge")

    def __init__(self, number: int, *, stop_at_failure: bool) -> None:
        self._left = number
        self._stop_at_failure = stop_at_failure
        self.done = number <= 0
        self.bell: Bell | None = None  # made by the loop, if it must
        self.nudge: Callable[[], None] | None = None  # set by the loop while this thread leads
        self.error: BaseException | None = None  # the engine ended meanwhile

    def note(self, object_id: ObjectId, stored: StoredObject) -> None:
        """One of the objects is there."""
        self._left -= 1
        if self._left <= 0 or (self._stop_at_failure and stored.kind == Kind.FAILED):
            self._finish()

    def fail(self, error: BaseException) -> None:
        """The objects will never be there."""
        self.error = error
        self._finish()

    def _finish(self) -> None:
        self.done = True
        if self.bell is not None:
            self.bell.ring()
        if self.nudge is not None:
            self.nudge()


class CallbackWatcher:
    """A done callback; called outside the turn, from a queue."""

    __slots__ = ("_call", "_queue")

    def __init__(self, call: Callable[[], None], queue: deque[Callable[[], None]]) -> None:
        self._call = call
        self._queue = queue

    def note(self, object_id: ObjectId, stored: StoredObject) -> None:
        self._queue.append(self._call)


class RemoteRequest:
    """A Fetch or Watch of a task; put into a queue when it can be answered."""

    __slots__ = (
        "_left",
        "_queue",
        "_stop_at_failure",
        "blocks",
        "object_ids",
        "queued",
        "request_id",
        "worker",
    )

    def __init__(
        self,
        worker: Any,
        request_id: int,
        object_ids: list[ObjectId],
        queue: deque[RemoteRequest],
        *,
        fetches: bool,
        blocks: bool,
    ) -> None:
        self.worker = worker
        self.request_id = request_id
        self.object_ids = object_ids
        self.blocks = blocks
        self.queued = False
        self._left = 0
        self._queue = queue
        self._stop_at_failure = fetches

    @property
    def fetches(self) -> bool:
        """Whether values are wanted, not only the news that they are there."""
        return self._stop_at_failure

    def watch(self, objects: ObjectTable, wanted: list[ObjectId], number: int) -> list[ObjectId]:
        """Wait for `number` of the objects; return those that are not there yet."""
        table = objects.by_id
        pending = [object_id for object_id in wanted if not table[object_id].kind]
        self._left = number - (len(wanted) - len(pending))
        failed = self._stop_at_failure and any(table[i].kind == Kind.FAILED for i in wanted)
        if self._left <= 0 or failed:
            self.queued = True
            self._queue.append(self)
            return []
        for object_id in pending:
            watchers = table[object_id].watchers
            if watchers is None:
                watchers = table[object_id].watchers = []
            watchers.append(self)
        return pending

    def forget(self, objects: ObjectTable) -> None:
        """Wait no longer. Without this, waits with a time limit pile up at a slow task's object."""
        self.queued = True
        for object_id in self.object_ids:
            stored = objects.by_id.get(object_id)
            if stored is not None and stored.watchers:
                stored.watchers = [other for other in stored.watchers if other is not self]

    def note(self, object_id: ObjectId, stored: StoredObject) -> None:
        self._left -= 1
        failed = self._stop_at_failure and stored.kind == Kind.FAILED
        if (self._left <= 0 or failed) and not self.queued:
            self.queued = True
            self._queue.append(self)
