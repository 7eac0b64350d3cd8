"""What stands behind refs, for the driver's own code: values rebuilt, errors raised, in words."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Final, NoReturn

from flame_remote import _ids
from flame_remote._deadline import Deadline
from flame_remote._execute.failure import rebuild_error
from flame_remote._execute.result import cannot_rebuild
from flame_remote._ids import ObjectId
from flame_remote._outcome import Kind
from flame_remote._refs import ObjectRef
from flame_remote._scheduling.records import TaskRecord
from flame_remote._scheduling.states import TaskState
from flame_remote._wire.packing import unpack
from flame_remote.exceptions import FlameError, GetTimeoutError

from .core import Core
from .ctrl_c import CtrlC
from .objects import StoredObject
from .turn import Turn
from .values import open_value

_PROGRESS: Final = {
    TaskState.PENDING: "pending: waits for its arguments",
    TaskState.READY: "pending: waits for a worker",
    TaskState.RESTING: "pending: has failed and will be tried again",
    TaskState.ASSIGNED: "running",
}


class Results:
    """Turns what the table holds into what `get` returns or raises. Any thread, outside turns."""

    def __init__(self, core: Core, turn: Turn, opening: Turn, ctrl_c: CtrlC) -> None:
        """`opening` is taken around the opening of stored values, outside the engine's `turn`."""
        # Constant after construction.
        self._core = core
        self._turn = turn
        self._opening = opening
        self._ctrl_c = ctrl_c
        self._objects: Mapping[ObjectId, StoredObject] = core.objects.by_id
        self._maker_of: Callable[[ObjectId], TaskRecord | None] = core.scheduler.maker_of

    def load(self, ref: ObjectRef[Any], stored: StoredObject) -> Any:
        """Rebuild a value that is there. Runs its own code.

        Raises the task's error; DeserializationError for whatever the value's own code raises.
        """
        if stored.kind == Kind.FAILED:
            self.raise_failure([stored])
        strikes = self._ctrl_c.strikes
        try:
            if stored.kind == Kind.PICKLED:
                return unpack(stored.data)
            return unpack(*self._open(ref, stored))
        except FlameError:
            raise
        except BaseException as error:
            if isinstance(error, KeyboardInterrupt) and self._ctrl_c.may_have_struck(strikes):
                raise
            what = f"the result of {stored.name}()" if stored.name else self.describe(ref)
            raise cannot_rebuild(what, "driver", error) from error

    def _open(
        self, ref: ObjectRef[Any], stored: StoredObject
    ) -> tuple[memoryview, list[memoryview]]:
        unpin = partial(self._core.unpinned.append, ref._id)
        with self._opening:
            with self._turn:
                stored.pins += 1
            return open_value(stored.data, self._core.mappings, unpin)

    def raise_missing(
        self, refs: Sequence[ObjectRef[Any]], stored: Sequence[StoredObject], deadline: Deadline
    ) -> NoReturn:
        """Raise the error of the first that failed, else say which are not there in time."""
        self.raise_failure(stored)
        late = [ref for ref, entry in zip(refs, stored, strict=True) if not entry.kind]
        texts = tuple(self.describe(ref) for ref in late[:10])
        raise GetTimeoutError(len(late), len(refs), deadline.seconds or 0.0, texts)

    def raise_failure(self, stored: Sequence[StoredObject]) -> None:
        """Raise the error of the first that failed, if any."""
        for entry in stored:
            if entry.kind == Kind.FAILED:
                entry.was_read = True
                raise self._rebuild(entry)

    def _rebuild(self, entry: StoredObject) -> BaseException:
        strikes = self._ctrl_c.strikes
        try:
            return rebuild_error(entry.data)
        except KeyboardInterrupt:
            if self._ctrl_c.may_have_struck(strikes):
                raise
        return rebuild_error(entry.data, runs_user_code=False)

    def describe(self, ref: ObjectRef[Any]) -> str:
        """Say what a ref stands for, and how far that is."""
        stored = self._objects.get(ref._id)
        if stored is None or not stored.name:
            return f"object {_ids.show(ref._id)}"
        if stored.is_actor:
            return f"{stored.name} {_ids.show(ref._id)}"
        state = "failed" if stored.kind == Kind.FAILED else "succeeded"
        if not stored.kind:
            record = self._maker_of(ref._id)
            state = _PROGRESS[record.state] if record is not None else "pending"
        return f"{stored.name}() {_ids.show(ref._id)} ({state})"
