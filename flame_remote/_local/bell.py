"""Wakes one thread."""

from __future__ import annotations

import threading
from contextlib import suppress


class Bell:
    """One thread waits until another rings. It has rung until somebody has waited for it.

    Unlike threading.Event it has no state that KeyboardInterrupt could tear in the middle of a
    wait.
    """

    def __init__(self) -> None:
        self._silence = threading.Lock()
        self._silence.acquire()

    def ring(self) -> None:
        """Wake who waits, or the next who does. Any thread; never blocks."""
        with suppress(RuntimeError):  # it is ringing already
            self._silence.release()

    def wait(self, seconds: float | None) -> None:
        """Block until it rings, so long at most; None: as long as it takes."""
        self._silence.acquire(True, -1 if seconds is None else seconds)
