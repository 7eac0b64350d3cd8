"""Which targets can still be called from this process, and which no more."""

from __future__ import annotations

from collections import deque


class LivingTargets:
    """Counts the Target objects of each id: the same code may have been exported more than once.

    Targets report to `events`: minus their id when they are made, the id when they die; any thread
    appends, finalisers too. Everything else is for one thread at a time.
    """

    def __init__(self) -> None:
        self.events: deque[int] = deque()
        self._number: dict[int, int] = {}

    def take_dead(self) -> list[int]:
        """Return the targets of which the last object has died since this was asked before."""
        touched: set[int] = set()
        events, number = self.events, self._number
        while events:
            event = events.popleft()
            target_id = abs(event)
            number[target_id] = number.get(target_id, 0) + (1 if event < 0 else -1)
            touched.add(target_id)
        dead = [target_id for target_id in touched if number[target_id] <= 0]
        for target_id in dead:
            del number[target_id]
        return dead
