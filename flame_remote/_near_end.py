"""The near end of a stream: asks for items, and knows which of them nobody has taken yet."""

from __future__ import annotations

import threading
import weakref
from collections import deque
from contextlib import suppress
from functools import partial
from typing import Any, Final, NamedTuple

from flame_remote._far_ends import FarEnd
from flame_remote._refs import ObjectRef
from flame_remote.exceptions import EngineClosedError

# Items that are asked for before they are needed: as many as hide the way there and back.
_AHEAD: Final = 32


class Step(NamedTuple):
    """One item that was asked for: whether it is one, and itself."""

    there: ObjectRef[bool]
    item: ObjectRef[Any]


class NearEnd:
    """What has been asked for and not been taken. Any thread."""

    def __init__(self, far: FarEnd, ahead: int | None) -> None:
        # Constant after construction.
        self.name = far.name
        self._engine = far.engine
        # Calls run in the thread that makes them: nothing is made before it is wanted.
        self._is_lazy = not far.engine.runs_ahead
        self._ahead = ahead
        # Set by a finaliser, which must not lock.
        self._is_abandoned = False
        self._lock = threading.RLock()  # a call may be over before it returns
        # Guarded by self._lock.
        self._far: FarEnd | None = far  # None once there is nothing to ask for
        self._failure: ObjectRef[Any] | None = None  # with which the generator has ended
        self._is_asking = False
        self._steps: deque[Step] = deque()  # that nobody has taken, in order
        self._running: dict[int, ObjectRef[Any]] = {}  # what the far end has not answered, by id
        if not self._is_lazy:
            with self._lock:
                self._ask()

    def first(self) -> Step | None:
        """Return what comes next; None if there is nothing."""
        with self._lock:
            if not self._steps:
                self._ask(1)
            return self._steps[0] if self._steps else None

    def take(self, step: Step) -> ObjectRef[Any] | None:
        """Take what has come, unless another has; return its item if it is one."""
        with self._lock:
            if not self._steps or self._steps[0] is not step:
                return None
            self._steps.popleft()
            self._running.pop(step.there._id, None)
            try:
                is_item = step.there.get()
            except Exception:
                is_item = True  # the error is what comes last
                self._failure = step.there
                self._end()
            if not is_item:
                self._end(by_itself=True)
                self._steps.clear()  # asked for in vain
                return None
            if not self._is_lazy:
                self._ask()
            return step.item

    def run_out(self) -> ObjectRef[Any]:
        """Ask for all there is, to be kept at the far end."""
        with self._lock:
            if self._failure is not None:
                return self._failure
            if self._far is None:
                from flame_remote._wire.packing import pack

                return self._engine.put(pack(None, lambda: "nothing"))
            ended: ObjectRef[Any] = self._far.call("run_out", 1)
            return ended

    def close(self) -> None:
        """End the far end."""
        with self._lock:
            self._end()
            self._steps.clear()
            running, self._running = self._running, {}
        for ref in reversed(running.values()):
            _cancel_step(ref)

    def abandon(self) -> None:
        """As `close`, as far as a finaliser can: the item that is being made is the last."""
        self._is_abandoned = True
        far, self._far = self._far, None
        if far is not None:
            far.abandon()
        del far
        self._steps.clear()
        self._engine.handle_died()

    def _ask(self, at_least: int = 0) -> None:
        """Ask for as many items as may be made ahead. The caller holds self._lock."""
        if self._is_asking:
            return  # in a callback of the call that is being made: that one goes on
        self._is_asking = True
        try:
            while (far := self._far) is not None and (
                len(self._steps) < at_least or self._may_ask(far.most_running)
            ):
                there, item = far.call("step", 2)
                self._steps.append(Step(there, item))
                self._note_when_done(there)
        finally:
            self._is_asking = False

    def _may_ask(self, most_running: int | None) -> bool:
        if self._is_lazy or (most_running is not None and len(self._running) >= most_running):
            return False
        if self._ahead is not None:
            return len(self._steps) < self._ahead
        return len(self._running) < _AHEAD

    def _note_when_done(self, ref: ObjectRef[Any]) -> None:
        self._running[ref._id] = ref
        if self._is_lazy:
            return
        # Not a method of this: who drops the generator must not wait for its steps.
        ref.add_done_callback(partial(_step_ended, weakref.ref(self), self._running))

    def step_ended(self, ref: ObjectRef[Any]) -> None:
        """The far end has answered: ask for more, or let it go."""
        with self._lock:
            self._running.pop(ref._id, None)
            try:
                is_over = ref.get() is False
            except Exception:
                is_over = True
                self._failure = ref
            if is_over:
                self._end(by_itself=self._failure is None)
            elif not self._is_lazy:
                self._ask()

    def _end(self, *, by_itself: bool = False) -> None:
        """Ask for nothing any more. The caller holds self._lock."""
        far, self._far = self._far, None
        if far is not None:
            far.ended() if by_itself else far.close()
            del far
            self._engine.handle_died()


def _step_ended(
    near: weakref.ref[NearEnd], running: dict[int, ObjectRef[Any]], ref: ObjectRef[Any]
) -> None:
    alive = near()
    if alive is not None and not alive._is_abandoned:
        alive.step_ended(ref)
        return
    running.pop(ref._id, None)
    ref.exception()  # nobody else looks at it
    with suppress(KeyError):  # each once: one more would strike the generator as it cleans up
        while True:
            _cancel_step(running.popitem()[1])


def _cancel_step(ref: ObjectRef[Any]) -> None:
    """Cancel the making of an item, but not what the generator calls as it ends."""
    with suppress(EngineClosedError):  # then it is ended with all else
        ref._engine.cancel(ref, False, recursive=False)
