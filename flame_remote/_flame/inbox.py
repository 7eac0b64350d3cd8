"""What an engine's own thread, that of the connection's loop, is to do for other threads."""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final, TypeVar

from flame_remote.exceptions import EngineClosedError

T = TypeVar("T")

_TICK_SECONDS: Final = 0.1  # how long a dead ref may wait for something else to happen
_ASK_SECONDS: Final = 60.0  # for an answer of a thread that never blocks


class Inbox:
    """The way into the engine's thread. Other threads put in; nothing but `ask` blocks."""

    def __init__(self, loop: asyncio.AbstractEventLoop, turn: Callable[[], object]) -> None:
        """`turn` is called in the engine's thread when something was put in."""
        # Constant after construction.
        self._loop = loop
        self._turn = turn
        # What is wanted, in one row with what happens to refs, as Engine.ref_events: so whatever
        # holds an object comes before the death of the ref by which it was known, and a birth
        # before the end of what held the object until then. Any thread appends.
        self.events: deque[Any] = deque()
        self.target_events: deque[int] = deque()  # as Engine.target_events
        self._awake = False  # the engine's thread has been told to look; set before, cleared in it
        # Belongs to the engine's thread.
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Have finalisers' events seen from now on: they wake nobody."""
        self._loop.call_soon_threadsafe(self._tick)

    def wake(self) -> None:
        """Have the engine's thread look what there is to do. Any thread; never blocks."""
        if not self._awake:
            self._awake = True
            with suppress(RuntimeError):  # closed: nothing is done any more
                self._loop.call_soon_threadsafe(self._look)

    def tell(self, what: Callable[[], object]) -> None:
        """Have a function called in the engine's thread."""
        self.events.append(what)
        self.wake()

    def ask(self, what: Callable[[], T], seconds: float = _ASK_SECONDS) -> T:
        """Call a function in the engine's thread and return what it returns. Blocks.

        Raises EngineClosedError if there is no answer in time: then that thread has ended.
        """
        answer: list[T] = []
        error: list[BaseException] = []
        done = threading.Event()

        def answer_it() -> None:
            try:
                answer.append(what())
            except BaseException as raised:
                error.append(raised)
            done.set()

        self.tell(answer_it)
        done.wait(seconds)
        if error:
            raise error[0]
        if not answer:
            raise EngineClosedError()
        return answer[0]

    # --- the engine's thread ---

    def work_off(self, count: Callable[[int], object]) -> None:
        """Do all that was put in, in order; `count` is called for what happened to refs."""
        events = self.events
        while events:
            event = events.popleft()
            if type(event) is int:
                count(event)
                continue
            try:
                event()
            except Exception:  # a bug; but what else is in the row must not suffer
                import logging

                logging.getLogger("flame_remote").exception("the engine failed at %r", event)

    def close(self) -> None:
        """Look no more for what finalisers put in."""
        if self._timer is not None:
            self._timer.cancel()

    def _look(self) -> None:
        self._awake = False
        self._turn()

    def _tick(self) -> None:
        self._timer = self._loop.call_later(_TICK_SECONDS, self._tick)
        if self.events or self.target_events:
            self.wake()
