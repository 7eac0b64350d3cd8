"""A worker's share in the counting of objects: what it must tell the driver, and when."""

from __future__ import annotations

from collections import deque

from flame_remote._ids import ObjectId
from flame_remote._scheduling.living import LivingTargets

from .messages import Counts


class LocalCounts:
    """Counts the refs that live in this process; the driver only hears of those that matter.

    A ref that comes and goes within one task is never mentioned: the task itself holds the object
    meanwhile. Whatever may release something in the driver is preceded by `changes()`, on the
    same stream, so that what this process still refers to is counted in time.
    """

    def __init__(self, events: deque[int]) -> None:
        self._events = events  # as Engine.ref_events
        self._live: dict[ObjectId, int] = {}
        self._told: set[ObjectId] = set()
        self.targets = LivingTargets()
        self.exported: set[int] = set()  # targets that the driver was told of
        # Stored values whose location this process was sent and reads no more. Finalisers append.
        self.unpinned: deque[ObjectId] = deque()

    def own(self, object_id: ObjectId) -> None:
        """Note an object that this process made: the driver counts it from its first message."""
        self._live[object_id] = self._live.get(object_id, 0) + 1
        self._told.add(object_id)

    def changes(self) -> Counts | None:
        """Return what the driver does not know yet, None if there is nothing. Inside a turn."""
        touched = self._take_events()
        unpinned: list[ObjectId] = []
        while self.unpinned:
            unpinned.append(self.unpinned.popleft())
        held: list[ObjectId] = []
        dropped: list[ObjectId] = []
        for object_id in touched:
            if self._live.get(object_id, 0) > 0:
                if object_id not in self._told:
                    self._told.add(object_id)
                    held.append(object_id)
            else:
                self._live.pop(object_id, None)
                if object_id in self._told:
                    self._told.remove(object_id)
                    dropped.append(object_id)
        forgotten: tuple[int, ...] = ()
        if self.targets.events:
            dead = self.exported.intersection(self.targets.take_dead())
            self.exported -= dead
            forgotten = tuple(dead)
        if held or dropped or unpinned or forgotten:
            return Counts(held, dropped, unpinned, forgotten)
        return None

    def _take_events(self) -> set[ObjectId]:
        touched: set[ObjectId] = set()
        events, live = self._events, self._live
        while events:
            event = events.popleft()
            object_id = abs(event)
            live[object_id] = live.get(object_id, 0) + (1 if event < 0 else -1)
            touched.add(object_id)
        return touched
