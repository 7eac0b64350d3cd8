"""Threads that wait for objects."""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import partial

from flame_remote._deadline import Deadline
from flame_remote._outcome import Kind
from flame_remote.exceptions import EngineClosedError, FlameError

from .inbox import Inbox
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


# Waits until the waiter has ended, or the deadline; the objects are what is waited for.
Sleep = Callable[[Waiter, list[Stored], Deadline], object]


class Waits:
    """All waits of an engine. Any thread but the engine's waits; that one keeps the list."""

    def __init__(self, inbox: Inbox, want: Callable[[Stored], object], sleep: Sleep) -> None:
        """`want` has an object looked for, `sleep` is what a thread does while it waits."""
        # Constant after construction.
        self._inbox = inbox
        self._want = want
        self._sleep = sleep
        # Belongs to the engine's thread.
        self._waiters: set[Waiter] = set()
        self._ended = False

    def wait(
        self, entries: list[Stored], number: int, deadline: Deadline, *, stop_at_failure: bool
    ) -> None:
        """Wait until so many are there; return when the time is over, too. Blocks.

        Raises EngineClosedError if the engine is closed meanwhile.
        """
        waiter = Waiter(number, stop_at_failure=stop_at_failure)
        self._inbox.tell(partial(self._begin, waiter, entries))
        try:
            self._sleep(waiter, entries, deadline)
        finally:
            self._inbox.tell(partial(self._end, waiter, entries))
        if waiter.error is not None:
            raise waiter.error

    def watch(self, entry: Stored, call: Callable[[], object]) -> None:
        """Have a function called in the engine's thread once an object is there."""

        def begin() -> None:
            if entry.done:
                call()
            else:
                entry.watchers.append(lambda _: call())
                self._want(entry)

        self._inbox.tell(begin)

    # --- the engine's thread ---

    def end_all(self, error: FlameError) -> None:
        """Have all threads raise an error that wait, and later those that begin to."""
        self._ended = True
        for waiter in self._waiters:
            waiter.fail(error)
        self._waiters.clear()

    def _begin(self, waiter: Waiter, entries: list[Stored]) -> None:
        if self._ended:
            waiter.fail(EngineClosedError("flame was shut down while this call waited"))
            return
        self._waiters.add(waiter)
        for entry in entries:
            if entry.done:
                waiter.note(entry)
            else:
                entry.watchers.append(waiter.note)
                self._want(entry)

    def _end(self, waiter: Waiter, entries: list[Stored]) -> None:
        self._waiters.discard(waiter)
        for entry in entries:
            if waiter.note in entry.watchers:
                entry.watchers.remove(waiter.note)
