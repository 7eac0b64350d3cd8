"""The values that an inline engine keeps, and how many refs there are to each."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final

from flame_remote import _ids
from flame_remote._execute.failure import encode_error
from flame_remote._ids import ObjectId
from flame_remote._outcome import Kind, Outcome
from flame_remote._refs import ObjectRef
from flame_remote._wire.packing import Packed, unpack
from flame_remote.exceptions import ObjectFreedError

Callback = Callable[[ObjectRef[Any]], object]
CallbackOfRef = tuple[Callback, ObjectRef[Any]]

_NOTHING_YET: Final = Outcome(Kind.PENDING, None)


class StoredObject:
    """A value, or the error or the task that stands in its place."""

    __slots__ = (
        "buffers",
        "callbacks",
        "count",
        "freed",
        "may_be_freed",
        "name",
        "outcome",
        "states",
        "was_read",
    )

    def __init__(self, name: str, states: tuple[str, str, str]) -> None:
        self.name = name  # for people
        self.states = states  # how it is called for people while it is pending, well, failed
        self.count = 1
        self.outcome = _NOTHING_YET
        self.was_read = False  # an error that was not is reported
        self.freed: Outcome | None = None  # what stands for its value from now on
        self.may_be_freed = True  # not what stands for an actor
        self.buffers: tuple[bytes, ...] = ()
        self.callbacks: list[CallbackOfRef] = []

    @property
    def done(self) -> bool:
        """Whether the value or an error is there."""
        return self.outcome.kind is not Kind.PENDING

    def load(self) -> Any:
        """Return a copy of the value that shares nothing with any other. Runs the value's code."""
        if self.outcome.kind is Kind.ATOM:
            return self.outcome.data
        return unpack(self.outcome.data, [bytearray(buffer) for buffer in self.buffers])

    def describe(self) -> str:
        """Say what it is and how far it is."""
        pending, well, failed = self.states
        state = {Kind.PENDING: pending, Kind.FAILED: failed}.get(self.outcome.kind, well)
        return f"{self.name} ({state})" if state else self.name


class ObjectTable:
    """All objects of an engine by id. The engine's lock guards it."""

    def __init__(self) -> None:
        self._objects: dict[ObjectId, StoredObject] = {}

    def add_result(self, task_id: ObjectId, name: str) -> None:
        """Begin the result of a task, with one ref to it."""
        states = "pending", "succeeded", "failed"
        self._objects[task_id] = StoredObject(f"{name}() {_ids.show(task_id)}", states)

    def add_actor(self, actor_id: ObjectId, name: str) -> None:
        """Begin what stands for an actor, with one handle of it."""
        states = "starting", "alive", "failed"
        self._objects[actor_id] = StoredObject(f"{name} {_ids.show(actor_id)}", states)
        self._objects[actor_id].may_be_freed = False

    def add_value(self, object_id: ObjectId, packed: Packed) -> None:
        """Keep a value, with one ref to it."""
        stored = self._objects[object_id] = StoredObject(
            f"object {_ids.show(object_id)}", ("", "", "")
        )
        self.fill(stored, packed)

    def get(self, object_id: ObjectId) -> StoredObject | None:
        """Return an object that is still referred to."""
        return self._objects.get(object_id)

    def __iter__(self) -> Iterator[tuple[ObjectId, StoredObject]]:
        """Yield all objects with their ids."""
        return iter(self._objects.items())

    def fill(self, stored: StoredObject, content: Packed | Outcome) -> None:
        """Give an object its value or error, and count the refs inside."""
        if stored.freed is not None:
            content, stored.was_read = stored.freed, True
        if isinstance(content, Outcome):
            stored.outcome = content
            return
        stored.buffers = tuple(bytes(buffer.raw()) for buffer in content.buffers)
        inside = tuple(ref._id for ref in content.refs)
        stored.outcome = Outcome(Kind.PICKLED, content.data, inside)
        self.hold(inside)

    def hold(self, object_ids: Iterable[ObjectId]) -> None:
        """Count one more ref to each."""
        for object_id in object_ids:
            stored = self._objects.get(object_id)
            if stored is not None:
                stored.count += 1

    def drop(self, object_id: ObjectId) -> dict[ObjectId, StoredObject]:
        """Put an error in the place of a value, when it is there; return what is gone by that."""
        stored = self._objects.get(object_id)
        if stored is None or not stored.may_be_freed or stored.outcome.kind is Kind.FAILED:
            return {}
        stored.freed = Outcome(Kind.FAILED, encode_error(ObjectFreedError(object_id)))
        if not stored.done:
            return {}
        inside = stored.outcome.refs
        stored.outcome, stored.buffers, stored.was_read = stored.freed, (), True
        return self.release(inside)

    def release(self, object_ids: Iterable[ObjectId]) -> dict[ObjectId, StoredObject]:
        """Count one ref less to each; return the objects that are gone by that."""
        gone: dict[ObjectId, StoredObject] = {}
        left = list(object_ids)
        while left:
            object_id = left.pop()
            stored = self._objects.get(object_id)
            if stored is None:
                continue
            stored.count -= 1
            if stored.count <= 0:
                del self._objects[object_id]
                gone[object_id] = stored
                left.extend(stored.outcome.refs)
        return gone

    def empty(self) -> list[CallbackOfRef]:
        """Forget all values, not their names; return the callbacks that were still to be called."""
        callbacks = []
        for stored in self._objects.values():
            callbacks += stored.callbacks
            stored.callbacks, stored.outcome, stored.buffers = [], _NOTHING_YET, ()
            stored.states = "", "", ""
        return callbacks
