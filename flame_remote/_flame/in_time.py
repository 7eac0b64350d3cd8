"""Calls with a `timeout`, in the worker: whoever is late is told of at once, and runs on unheard.

A thread cannot be stopped from outside, and a stock worker runs all its calls in threads. So a call
that is late goes on until it ends by itself, as a cancelled one does; what it returns is dropped.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextvars import copy_context
from functools import partial
from queue import SimpleQueue
from typing import Any

from flame_remote._execute.failure import encode_error
from flame_remote.exceptions import TaskTimeoutError

from .batch import CallEntry
from .running import Finished, Runner, failed

Ended = Callable[[Finished], object]  # may be called in any thread


class InTime:
    """Hands on how a call ended, or that it is late; whichever comes first. Any thread."""

    def __init__(
        self,
        runner: Runner,
        entry: CallEntry,
        seconds: float,
        ended: Ended,
        on_late: Callable[[], object] = lambda: None,
    ) -> None:
        """The time begins now. `on_late` is called, before `ended`, if the call is late."""
        self._runner = runner
        self._entry = entry
        self._seconds = seconds
        self._ended = ended
        self._on_late = on_late
        self._first = threading.Lock()  # taken once, by who comes first
        self._timer = threading.Timer(seconds, self._tell)
        self._timer.daemon = True
        self._timer.start()

    def __call__(self, finished: Finished) -> None:
        """The call has ended."""
        self._timer.cancel()
        if self._first.acquire(blocking=False):
            self._ended(finished)
        else:
            self._runner.drop(finished)

    def _tell(self) -> None:
        if self._first.acquire(blocking=False):
            self._on_late()
            name = self._runner.code.entry(self._entry.target_id).name
            error = TaskTimeoutError(name, self._seconds)
            self._ended(failed(self._entry, encode_error(error)))


def run_in_time(runner: Runner, entry: CallEntry, load: Callable[[], Any]) -> Finished:
    """Run a call of a function to its end, or until its time is over. Blocks."""
    if entry.timeout is None:
        return runner.run(entry, load)
    answer: SimpleQueue[Finished] = SimpleQueue()
    told = InTime(runner, entry, entry.timeout, answer.put)
    run = partial(copy_context().run, lambda: told(runner.run(entry, load)))
    threading.Thread(target=run, name="flame-timed", daemon=True).start()
    return answer.get()
