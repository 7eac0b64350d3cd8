"""Threads that wait for objects."""

from __future__ import annotations

import threading

from flame_remote._outcome import Kind
from flame_remote.exceptions import FlameError

from .stored import Stored


class Waiter:
    """Ends once a number of objects are there, or one of them has failed if that is enough.

    The engine's thread tells it what has come; any thread may wait.
    """

    def __init__(self, number: int, *, stop_at_failure: bool) -> None:
        self._left = number
        self._stop_at_failure = stop_at_failure
        self._ended = threading.Event()
        self.error: FlameError | None = None  # why there is nothing to wait for any more
        if number <= 0:
            self._ended.set()

    def note(self, stored: Stored) -> None:
        """An object is there."""
        self._left -= 1
        if self._left <= 0 or (self._stop_at_failure and stored.kind == Kind.FAILED):
            self._ended.set()

    def fail(self, error: FlameError) -> None:
        """There is nothing to wait for any more."""
        self.error = error
        self._ended.set()

    def wait(self, seconds: float | None) -> bool:
        """Wait; say whether it has ended."""
        return self._ended.wait(seconds)
