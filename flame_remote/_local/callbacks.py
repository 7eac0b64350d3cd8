"""The done callbacks of a worker's refs."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from contextvars import copy_context
from functools import partial

from flame_remote._deadline import NEVER

from .link import Link

Callback = Callable[[], object]


class Callbacks:
    """Runs done callbacks in a thread of its own, which lives while one is awaited.

    Not in the thread that reads, and which may be the task's own: a callback may wait for what is
    yet to be read.
    """

    def __init__(self, link: Link) -> None:
        # Constant after construction.
        self._link = link
        # Any thread adds; the thread that reads, in its turn, moves one on when its time has come.
        self._awaited: dict[int, Callback] = {}
        self._due: deque[Callback] = deque()
        self._lock = threading.Lock()
        # Guarded by self._lock.
        self._has_thread = False
        # Written by the thread.
        self._is_running = False

    def add(self, request: int, callback: Callback) -> None:
        """Have `callback` run, in the caller's context, once the request is answered."""
        self._awaited[request] = partial(copy_context().run, callback)

    def watch(self) -> None:
        """Make sure that somebody runs what has been added."""
        with self._lock:
            if self._has_thread:
                return
            self._has_thread = True
        threading.Thread(target=self._serve, name="flame-callbacks", daemon=True).start()

    def take_answer(self, request: int) -> bool:
        """Note that a request is answered; say whether a callback waits for it. In a turn."""
        callback = self._awaited.pop(request, None)
        if callback is None:
            return False
        self._due.append(callback)
        return True

    def is_idle(self) -> bool:
        """Say whether all callbacks have run whose requests are answered. Any thread."""
        return not self._due and not self._is_running

    def _serve(self) -> None:
        while True:
            self._link.pump_until(self._has_something_to_do, NEVER)
            self._run_due()
            with self._lock:
                if not self._awaited and not self._due:
                    self._has_thread = False
                    return

    def _has_something_to_do(self) -> bool:
        return bool(self._due) or not self._awaited

    def _run_due(self) -> None:
        self._is_running = True  # before the first is taken out: else all would seem to be done
        try:
            while self._due:
                self._due.popleft()()
        finally:
            self._is_running = False
        self._link.wake()  # who waits for them asks again
