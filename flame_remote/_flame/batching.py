"""How many calls share a Flame task, and how many Flame tasks are under way.

A Flame task costs some milliseconds whatever is in it. Short calls therefore travel together, as
many as make up for that; long ones alone, so that none waits for another and each can be given to
whichever instance is free. A call that finds nothing under way is never held back.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, Protocol

# Work per Flame task: several times what the task itself costs, little enough that a result is not
# noticeably late for having been computed in company.
BUDGET_SECONDS: Final = 0.02
MAX_CALLS: Final = 1000
MAX_BYTES: Final = 512 * 1024  # a message of Flame's holds 4 MiB, and a task travels three times
# Flame tasks of one session under way when calls are long: enough for the cluster to see how many
# instances it may start.
MAX_TASKS: Final = 1000
_AHEAD: Final = 2  # tasks per instance: one runs, one waits for it to end
_MEMORY: Final = 64  # how many earlier calls the average remembers
# With unknown calls under way and nothing back after this time, more are sent.
PATIENCE_SECONDS: Final = 0.02


class Item(Protocol):
    """What is to be sent: a call."""

    @property
    def target_id(self) -> int:
        """Its target."""
        ...

    @property
    def size(self) -> int:
        """Its bytes, as far as they travel in the message."""
        ...

    @property
    def alone(self) -> bool:
        """Whether it may share a Flame task with none."""
        ...


class Pace:
    """What is known of each target: how long its calls take, and whether they wait for others."""

    def __init__(self) -> None:
        self._seconds: dict[int, float] = {}
        self._blocking: set[int] = set()

    def learn(self, measured: Mapping[int, tuple[int, float]]) -> None:
        """Take in `target -> (calls, seconds in all)`."""
        for target_id, (calls, seconds) in measured.items():
            known = self._seconds.get(target_id)
            if known is None:
                self._seconds[target_id] = seconds / calls
            else:
                self._seconds[target_id] = (known * _MEMORY + seconds) / (_MEMORY + calls)

    def note_blocking(self, target_ids: Sequence[int]) -> None:
        """Note targets whose calls wait for other calls; from now on each travels alone."""
        self._blocking.update(target_ids)

    def seconds(self, target_id: int) -> float | None:
        """Return how long a call takes; None if that is unknown, the budget if it may wait."""
        if target_id in self._blocking:
            return BUDGET_SECONDS
        return self._seconds.get(target_id)


class Batcher:
    """Decides for one session what goes into the next Flame task; time comes in as a value."""

    def __init__(self, pace: Pace, *, instances: int, most_under_way: int | None = None) -> None:
        """`instances` is how many the cluster has room for; `most_under_way` an upper limit."""
        self._pace = pace
        self._tasks = max(2, _AHEAD * instances)
        self._most = most_under_way or MAX_TASKS
        self._unknown_limit = self._tasks
        self._quiet_since = 0.0

    def note_reply(self, now: float) -> None:
        """A Flame task has ended: what was unknown is known now."""
        self._unknown_limit = self._tasks
        self._quiet_since = now

    def look_again_after(self, under_way: int) -> float | None:
        """Return after how many seconds more might be sent although nothing has come back."""
        return PATIENCE_SECONDS if under_way < min(MAX_TASKS, self._most) else None

    def next_size(self, waiting: Sequence[Item], under_way: int, now: float) -> int:
        """Return how many of the waiting calls, in their order, go into a Flame task now."""
        if not waiting or under_way >= self._most:
            return 0
        if under_way == 0:
            self._quiet_since = now
        first = waiting[0]
        seconds = self._pace.seconds(first.target_id)
        if self._is_alone(first):
            limit = self._limit_of_unknown(now) if seconds is None else MAX_TASKS
            return 1 if under_way < limit else 0
        free = self._tasks - under_way
        if free <= 0:
            return 0
        return self._fill(waiting, share=-(-len(waiting) // free))

    def most_together(self, waiting: Sequence[Item]) -> int:
        """Return how many of the waiting calls may share a Flame task, however long they take."""
        if not waiting:
            return 0
        return 1 if self._is_alone(waiting[0]) else self._fill(waiting, MAX_CALLS)

    def _is_alone(self, item: Item) -> bool:
        seconds = self._pace.seconds(item.target_id)
        return item.alone or seconds is None or seconds >= BUDGET_SECONDS

    def _fill(self, waiting: Sequence[Item], share: int) -> int:
        budget, size = BUDGET_SECONDS, 0
        number = 0
        for item in waiting:
            if number and self._is_alone(item):
                break
            budget -= self._pace.seconds(item.target_id) or 0.0
            size += item.size
            if number and (budget < 0 or size > MAX_BYTES):
                break
            number += 1
            if number >= min(share, MAX_CALLS):
                break
        return number

    def _limit_of_unknown(self, now: float) -> int:
        """Allow twice as many each time that nothing comes back: then the calls are long."""
        if now - self._quiet_since >= PATIENCE_SECONDS:
            self._quiet_since = now
            self._unknown_limit = min(MAX_TASKS, 2 * self._unknown_limit)
        return self._unknown_limit
