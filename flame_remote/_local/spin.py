"""How long to look for an answer before going to sleep for it."""

from __future__ import annotations

import time
from typing import Final

# Being woken costs 15-40 us and more where an idle core sleeps deeply; a lone call takes about as
# long in all (benchmarks: lone task). Looking longer than this would take a core from the workers.
_LONGEST_SECONDS: Final = 100e-6
_PAUSE: Final = 16  # waits that are not preceded by looking, once looking was in vain a few times


class AdaptiveSpin:
    """Decides whether a wait is worth looking before sleeping. One thread at a time."""

    def __init__(self) -> None:
        self._misses = 0

    def until(self) -> float:
        """Return the perf_counter() until which to look; 0.0 to sleep at once."""
        if self._misses > 2 and self._misses % _PAUSE:
            self._misses += 1
            return 0.0
        return time.perf_counter() + _LONGEST_SECONDS

    def hit(self) -> None:
        """It came while we looked."""
        self._misses = 0

    def miss(self) -> None:
        """It did not."""
        self._misses += 1
