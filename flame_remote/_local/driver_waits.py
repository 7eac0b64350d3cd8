"""Who waits for objects in the driver: threads, and done callbacks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from operator import attrgetter
from typing import Any, Final

from flame_remote._deadline import Deadline
from flame_remote._execute.callbacks import call_back
from flame_remote._outcome import Kind
from flame_remote._refs import ObjectRef
from flame_remote.exceptions import FlameError, ForkedError, SessionEndedError

from .core import Core
from .loop import Loop
from .objects import StoredObject
from .turn import Turn
from .waits import CallbackWatcher, Waiter

_KIND: Final = attrgetter("kind")


class DriverWaits:
    """Waits until objects are there, or the engine is over. Any thread, outside turns."""

    def __init__(self, core: Core, turn: Turn, loop: Loop) -> None:
        # Constant after construction.
        self._core = core
        self._turn = turn
        self._loop = loop
        # Replaced in a child of os.fork(), and only there.
        self._objects = core.objects.by_id
        # Why nothing comes any more. Guarded by self._turn.
        self._over: FlameError | None = None

    def find(self, refs: Sequence[ObjectRef[Any]]) -> list[StoredObject]:
        """Return what the refs stand for. Raises SessionEndedError, ForkedError."""
        objects = self._objects
        try:
            return [objects[ref._id] for ref in refs]
        except KeyError:
            if isinstance(self._over, ForkedError):
                raise self._over from None
            raise SessionEndedError("an ObjectRef") from None

    def wait(
        self, stored: list[StoredObject], number: int, deadline: Deadline, *, stop_at_failure: bool
    ) -> None:
        """Block until `number` of the objects are there, or one has failed, or the deadline.

        Raises why the engine is over, if that comes first.
        """
        with self._turn:
            self._core.drain()
            pending = [entry for entry in stored if not entry.kind]
            if stop_at_failure and any(entry.kind == Kind.FAILED for entry in stored):
                return
            if self._over is not None:
                raise self._over
            waiter = Waiter(number - (len(stored) - len(pending)), stop_at_failure=stop_at_failure)
            for entry in pending:
                if entry.watchers is None:
                    entry.watchers = [waiter]
                else:
                    entry.watchers.append(waiter)
        try:
            self._loop.run_until(waiter, deadline)
        finally:
            # Answered, late, or interrupted: it must not be told any more.
            with self._turn:
                for entry in pending:
                    if entry.watchers is not None and waiter in entry.watchers:
                        entry.watchers.remove(waiter)
        if waiter.error is not None:
            raise waiter.error

    def call_back(self, ref: ObjectRef[Any], callback: Callable[[ObjectRef[Any]], object]) -> None:
        """Call `callback(ref)` when the object is there: now, or outside some later turn."""
        (stored,) = self.find([ref])
        if stored.kind:
            call_back(callback, ref, ctrl_c=True)
            return
        # No turn for this, and nobody is woken (benchmarks: Executor): every turn that settles
        # something takes in new watchers after that. It has missed this one only if it was over
        # before the watcher was there, and then the object is settled by now.
        core = self._core
        call = partial(call_back, callback, ref, ctrl_c=True)
        core.new_watchers.append((stored, CallbackWatcher(call, core.callbacks)))
        if _KIND(stored) and not core.drain_is_due:  # asked again
            core.drain_is_due = True
            self._loop.wake()

    def end(self, error: FlameError) -> None:
        """Tell everybody who waits that there is nothing to wait for; also who comes later."""
        with self._turn:
            self._over = error
            self._core.take_watchers()
            for stored in list(self._objects.values()):  # others add to it without a turn
                for watcher in stored.watchers or ():
                    if isinstance(watcher, Waiter):
                        watcher.fail(error)
                    elif isinstance(watcher, CallbackWatcher):
                        watcher.note(0, stored)
                stored.watchers = None

    def end_in_child(self, error: ForkedError) -> None:
        """After os.fork(): whose turn it was is not known here, and nobody waits."""
        self._over = error
        self._objects = {}  # not cleared: that would copy the pages they lie on
