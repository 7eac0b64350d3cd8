"""What time it is, and when time itself will be news."""

from __future__ import annotations


class Clock:
    """The time of the event that is being handled, on whatever clock the caller reads."""

    __slots__ = ("next_tick", "now")

    def __init__(self) -> None:
        self.now = 0.0
        self.next_tick: float | None = None  # when a Tick is due; None while none is needed

    def wake_at(self, time: float) -> None:
        """Ask for a Tick at `time`, unless one comes before that."""
        if self.next_tick is None or time < self.next_tick:
            self.next_tick = time
