"""How long calls of each target take, and so how many may wait in one worker's channel."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

# Work sent ahead to one worker: enough to hide a wake-up of the driver behind a busy main thread
# (CPython's switch interval is 5 ms), little enough that nobody idles long beside a full queue.
BUDGET_SECONDS: Final = 0.004
MAX_WINDOW: Final = 2048
_MEMORY: Final = 64  # how many earlier calls the average remembers


class Pace:
    """A moving average of seconds per call, by target."""

    def __init__(self) -> None:
        self._seconds: dict[int, float] = {}
        self._single: set[int] = set()

    def keep_single(self, target_id: int) -> None:
        """Have calls of a target sent one by one, however short they are."""
        self._single.add(target_id)

    def learn(self, measured: Mapping[int, tuple[int, float]]) -> None:
        """Take in `target -> (calls, seconds in all)`."""
        for target_id, (calls, seconds) in measured.items():
            known = self._seconds.get(target_id)
            if known is None:
                self._seconds[target_id] = seconds / calls
            else:
                self._seconds[target_id] = (known * _MEMORY + seconds) / (_MEMORY + calls)

    def window(self, target_id: int) -> int:
        """Return how many calls of the target one worker may hold; 1 when it is slow or unknown."""
        seconds = self._seconds.get(target_id)
        if seconds is None or target_id in self._single:
            return 1
        return max(1, min(MAX_WINDOW, int(BUDGET_SECONDS / (seconds + 1e-6))))
