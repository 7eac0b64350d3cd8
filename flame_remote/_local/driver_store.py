"""The driver's own shared memory, and the values that it puts there."""

from __future__ import annotations

from typing import Any

from flame_remote import _ids
from flame_remote._deadline import Deadline
from flame_remote._ids import ObjectId
from flame_remote._outcome import Kind
from flame_remote._refs import ObjectRef
from flame_remote._wire.packing import Packed
from flame_remote.engine import Engine

from .arena import Arena, Extent
from .core import Core
from .loop import Loop
from .objects import StoredObject
from .turn import Turn
from .values import ROOM_STEP_SECONDS, Storage
from .waits import Waiter


class DriverStore:
    """What the driver stores itself. Safe to call from any thread, outside turns."""

    def __init__(self, engine: Engine, core: Core, turn: Turn, loop: Loop) -> None:
        """`engine` is the one whose refs are made."""
        # Constant after construction.
        self._engine = engine
        self._core = core
        self._turn = turn
        self._loop = loop
        self.storage = Storage(self._make_arena, lambda size: self._reserve(-size), self._make_room)

    def put(self, packed: Packed) -> ObjectRef[Any]:
        """Keep a value, and return its ref. Blocks while room is being made.

        Raises StoreFullError, SpillError, EngineClosedError.
        """
        with self._turn:
            self._core.drain()  # what was let go makes room, and warm room
        taken: list[Extent] = []  # with the ref, so that Ctrl-C leaves nothing behind
        try:
            kind, data = self.storage.store(packed, taken)
            object_id = self._engine.new_id()
            stored = StoredObject("")
            ref: ObjectRef[Any] = ObjectRef(object_id, self._engine)
            with self._turn:
                self._core.drain()
                self._core.objects.by_id[object_id] = stored
                taken.clear()
                if kind == Kind.STORED:
                    self._core.segments.value_stored(data[0], data[2])
                inside = tuple(ref._id for ref in packed.refs)
                self._core.objects.settle(object_id, int(kind), data, inside)
        except BaseException:
            self.storage.give_back(taken)
            raise
        return ref

    def find_same(self, packed: Packed, object_id: ObjectId) -> ObjectRef[Any] | None:
        """Return a new ref to an object that lies here and is made of those bytes; else None."""
        self._engine.ref_events.append(-object_id)
        ref: ObjectRef[Any] = ObjectRef(object_id, self._engine)
        with self._turn:
            self._core.drain()
            stored = self._core.objects.by_id.get(object_id)
            if stored is None or stored.kind != Kind.STORED:
                return None
            if stored.refs != tuple(inner._id for inner in packed.refs):
                return None
            stored.pins += 1  # it stays where it is
        try:
            return ref if self.storage.holds(stored.data, packed) else None
        finally:
            self._core.unpinned.append(object_id)

    # --- memory -------------------------------------------------------------------------

    def _make_arena(self) -> Arena:
        return Arena(_ids.DRIVER, self._reserve, self._announce, self._retire)

    def _reserve(self, size: int) -> None:
        with self._turn:
            self._core.segments.reserve(size)

    def _announce(self, segment: int, descriptor: int) -> None:
        with self._turn:
            self._core.segments.add(segment, descriptor)

    def _retire(self, segment: int) -> None:
        with self._turn:
            self._core.segments.retire(segment)

    def _make_room(self, needed_bytes: int) -> None:
        with self._turn:
            self._core.drain()
            self._core.room.make(needed_bytes, _ids.DRIVER)
        # Workers may be giving back what they do not use.
        self._loop.run_until(Waiter(1, stop_at_failure=False), Deadline(ROOM_STEP_SECONDS))
