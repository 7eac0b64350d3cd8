"""Values that the user has freed while refs to them are left. Inside a turn."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flame_remote._execute.failure import encode_error
from flame_remote._ids import ObjectId, TaskId
from flame_remote._outcome import Kind
from flame_remote.exceptions import ObjectFreedError

if TYPE_CHECKING:
    from .objects import ObjectTable, Place, StoredObject


class Dropped:
    """A value that was freed and is still being read: it goes when its last reader is done."""

    __slots__ = ("place", "refs", "told")

    def __init__(self, place: Place, refs: tuple[ObjectId, ...]) -> None:
        self.place = place
        self.refs = refs
        # Tasks that were sent the error instead of the value, and so have not pinned it.
        self.told: set[TaskId] = set()


def drop_value(objects: ObjectTable, object_id: ObjectId) -> None:
    """Put an error in the place of a value: now, or as soon as its task has ended."""
    stored = objects.by_id.get(object_id)
    if stored is None or stored.is_actor or stored.kind == Kind.FAILED:
        return
    if not stored.kind:
        if stored.watchers is None:
            stored.watchers = []
        stored.watchers.append(_Dropper(objects))
        return
    was_stored, place, refs = stored.kind == Kind.STORED, stored.data, stored.refs
    stored.kind, stored.data = int(Kind.FAILED), encode_error(ObjectFreedError(object_id))
    stored.refs, stored.was_read = (), True
    if was_stored and stored.pins:
        objects.dropped[object_id] = Dropped(place, refs)
        return
    if was_stored:
        objects.freed.append(place)
    objects.release(refs)


class _Dropper:
    """Waits for a task, to free its result."""

    __slots__ = ("_objects",)

    def __init__(self, objects: ObjectTable) -> None:
        self._objects = objects

    def note(self, object_id: ObjectId, stored: StoredObject) -> None:
        drop_value(self._objects, object_id)
