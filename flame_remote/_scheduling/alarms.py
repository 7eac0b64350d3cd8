"""What time itself does to tasks, and when."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from enum import Enum
from heapq import heapify, heappop, heappush
from typing import Final, NamedTuple

from .clock import Clock
from .records import TaskRecord
from .states import ENDED

_SMALLEST: Final = 256  # so many alarms are not worth a clean-up


class What(Enum):
    """What is to be looked at when an alarm is due."""

    REST = "rest"  # the pause before the next attempt is over
    TIMEOUT = "timeout"  # it may have run for too long
    DEADLINE = "deadline"
    GRACE = "grace"  # it was to end, and may not have reacted


class Alarm(NamedTuple):
    """One alarm. `sending` is how often the task had been sent to a worker when it was set."""

    time: float
    number: int  # orders alarms of the same time
    what: What
    record: TaskRecord
    sending: int


class Alarms:
    """A heap of alarms. One that is out of date by then is for the reader to recognise."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._heap: list[Alarm] = []
        self._numbers = itertools.count()
        self._most = _SMALLEST

    def __len__(self) -> int:
        return len(self._heap)

    def set(self, time: float, what: What, record: TaskRecord) -> None:
        """Have a task looked at, not before `time`."""
        if len(self._heap) >= self._most:
            self._forget_ended()
        sending = 0 if record.terms is None else record.terms.sendings
        heappush(self._heap, Alarm(time, next(self._numbers), what, record, sending))
        self._clock.wake_at(time)

    def next_of(self, record: TaskRecord) -> float | None:
        """Return when a task is looked at next, None if there is no need to."""
        times = (alarm.time for alarm in self._heap if alarm.record is record)
        return min(times, default=None)

    def take_due(self) -> Iterator[Alarm]:
        """Take out the alarms whose time has come, the first one first."""
        while self._heap and self._heap[0].time <= self._clock.now:
            yield heappop(self._heap)

    def remind(self) -> None:
        """Ask for a Tick when the next alarm is due, if there is one."""
        if self._heap:
            self._clock.wake_at(self._heap[0].time)

    def _forget_ended(self) -> None:
        """Let go of tasks that have ended long before their time."""
        self._heap = [alarm for alarm in self._heap if alarm.record.state not in ENDED]
        heapify(self._heap)
        self._most = max(_SMALLEST, 2 * len(self._heap))
