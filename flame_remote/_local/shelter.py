"""Where KeyboardInterrupt may strike in a worker: in a task's own code, and nowhere in ours."""

from __future__ import annotations

import signal
import sys
import threading
from collections import deque
from contextlib import suppress
from types import FrameType
from typing import Final

from flame_remote._ids import TaskId

from .fragile import is_fragile

# Cancelled tasks that have not been struck yet. Some never come, so the oldest fall out.
_LONGEST_MEMORY: Final = 64


class Struck(KeyboardInterrupt):
    """What a cancelled task is struck with: a KeyboardInterrupt that is known to be ours."""


class Shelter:
    """Keeps the interrupt that cancels a task out of our own code; used as a context manager.

    Python raises KeyboardInterrupt in the main thread between any two bytecodes. In the middle of
    our code it would tear what that changes. So the signal handler strikes only while the main
    thread is *exposed*, in the code of the task that is meant. Otherwise the task stays wanted:

    1. A `with` block around what user code calls of ours takes the exposure away, and strikes as it
       ends.
    2. A wait inside such a block looks at `wanted` and ends by itself; see Link.wake.
    3. A task that has not begun is struck as it is exposed.
    4. In what is fragile no interrupt strikes; Control sends the signal until one has.

    Each cancel strikes once. Other threads than the main one are never struck; for them a block
    does nothing.
    """

    def __init__(self) -> None:
        # Constant after construction.
        self._main_thread = threading.main_thread().ident
        # Written by the main thread only.
        self.exposed: TaskId = 0  # the task whose own code runs now; 0 in ours
        self._outer: list[TaskId] = []  # what was exposed outside each block
        # Any thread; a deque's methods are atomic.
        self.wanted: deque[TaskId] = deque(maxlen=_LONGEST_MEMORY)
        self._struck: deque[TaskId] = deque(maxlen=_LONGEST_MEMORY)  # those that have been

    def watch_signals(self) -> None:
        """Take SIGINT over. Main thread."""
        signal.signal(signal.SIGINT, self._on_interrupt)

    def __enter__(self) -> None:
        if threading.get_ident() == self._main_thread:
            # In this order: a signal is looked for as a function is called.
            outer, self.exposed = self.exposed, 0
            self._outer.append(outer)

    def __exit__(self, *_: object) -> None:
        if threading.get_ident() == self._main_thread:
            self.exposed = self._outer.pop()
            if self.wanted:
                self.strike()

    def expose(self, task_id: TaskId) -> None:
        """The task's own code begins. Raises Struck if it is wanted already.

        It ends by setting `exposed` to 0. Main thread.
        """
        self.exposed = task_id
        if self.wanted:
            self.strike()

    def strike(self) -> None:
        """Raise Struck if the exposed task is wanted, and this is no bad moment. Main thread."""
        # The frame in no variable: that would be a cycle in the traceback.
        if self.exposed and not is_fragile(sys._getframe()) and self.take(self.exposed):
            self.exposed = 0
            raise Struck

    def take(self, task_id: TaskId) -> bool:
        """Say whether a task is wanted; if so it no longer is. Any thread."""
        found = task_id in self.wanted
        if found:
            self._struck.append(task_id)
            with suppress(ValueError):  # another thread took it at the same time
                self.wanted.remove(task_id)
        return found

    def was_cancelled(self, task_id: TaskId) -> bool:
        """Say whether a task is wanted, or was struck. Any thread."""
        return task_id in self.wanted or task_id in self._struck

    def _on_interrupt(self, signum: int, frame: FrameType | None) -> None:
        if self.wanted:
            self.strike()
