"""Threads that wait for what an inline engine keeps, and what they get."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from flame_remote._deadline import Deadline
from flame_remote._execute.failure import rebuild_error
from flame_remote._execute.result import cannot_rebuild
from flame_remote._ids import ObjectId, TaskId
from flame_remote._outcome import Kind
from flame_remote._refs import ObjectRef
from flame_remote.exceptions import DeadlockError, FlameError, GetTimeoutError

from .nesting import task_stack
from .objects import StoredObject
from .tables import Tables


class Waits:
    """Blocks until calls have ended, in other threads. Safe to call from any thread.

    All waits raise EngineClosedError if the engine is closed meanwhile.
    """

    def __init__(self, tables: Tables) -> None:
        self._tables = tables

    def value_of(
        self,
        ref: ObjectRef[Any],
        stored: StoredObject,
        refs: Sequence[ObjectRef[Any]],
        deadline: Deadline,
    ) -> Any:
        """Wait for one of `refs`; return a copy of its value. Runs the value's code.

        Raises the task's own error, GetTimeoutError, DeadlockError, DeserializationError.
        """
        if not stored.done:
            self._wait_until_done(ref, stored, refs, deadline)
        stored.was_read = True
        if stored.outcome.kind is Kind.FAILED:
            raise rebuild_error(stored.outcome.data)
        try:
            return stored.load()
        except FlameError:  # a ref of an ended session inside it
            raise
        except (Exception, SystemExit, GeneratorExit) as error:
            failure = cannot_rebuild(f"the value of {stored.name}", "driver", error)
        raise failure

    def _wait_until_done(
        self,
        ref: ObjectRef[Any],
        stored: StoredObject,
        refs: Sequence[ObjectRef[Any]],
        deadline: Deadline,
    ) -> None:
        stack = task_stack.get()
        tables = self._tables
        with tables.changed:
            tables.calls.block(stack, ref._id)
            try:
                if deadline.seconds is None and (cycle := tables.calls.cycle(stack, ref._id)):
                    raise DeadlockError(cycle)
                while not stored.done:
                    tables.check_not_closed_meanwhile()
                    if deadline.expired():
                        raise self._timeout(refs, deadline)
                    tables.changed.wait(deadline.remaining())
            finally:
                tables.calls.unblock(stack)

    def _timeout(self, refs: Sequence[ObjectRef[Any]], deadline: Deadline) -> GetTimeoutError:
        entries = [self._tables.objects.get(ref._id) for ref in refs]
        late = [entry for entry in entries if entry is not None and not entry.done]
        texts = tuple(entry.describe() for entry in late[:10])
        return GetTimeoutError(len(late), len(refs), deadline.seconds or 0.0, texts)

    def done_among(
        self, stored: Mapping[ObjectId, StoredObject], number: int, deadline: Deadline
    ) -> set[ObjectId]:
        """Wait until so many of the objects are there, or the deadline; return those that are.

        Raises DeadlockError.
        """
        tables = self._tables
        with tables.changed:
            while True:
                done = {object_id for object_id, entry in stored.items() if entry.done}
                if len(done) >= number or deadline.expired():
                    return done
                tables.check_not_closed_meanwhile()
                if deadline.seconds is None:
                    stack = task_stack.get()
                    cycles = [tables.calls.cycle(stack, other) for other in stored.keys() - done]
                    if all(cycles):
                        raise DeadlockError(cycles[0])
                tables.changed.wait(deadline.remaining())

    def wait_for_calls(self, task_ids: Sequence[TaskId], deadline: Deadline) -> None:
        """Wait until calls have ended, or until the deadline."""
        tables = self._tables
        with tables.changed:
            while any(map(tables.calls.is_unfinished, task_ids)) and not deadline.expired():
                tables.check_not_closed_meanwhile()
                tables.changed.wait(deadline.remaining())
