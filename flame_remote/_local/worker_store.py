"""A worker's own shared memory, and the values that its tasks put there."""

from __future__ import annotations

from typing import Any

from flame_remote._deadline import Deadline
from flame_remote._refs import ObjectRef
from flame_remote._wire.packing import Packed
from flame_remote.engine import Engine
from flame_remote.exceptions import StoreFullError

from .arena import Arena
from .messages import Granted, Put, Reserve, Retire, Segment
from .requests import Requests
from .values import ROOM_STEP_SECONDS, Storage
from .worker import Worker


class WorkerStore:
    """What this worker stores; the driver keeps the budget. Any thread."""

    def __init__(self, engine: Engine, worker: Worker, requests: Requests) -> None:
        """`engine` is the one whose refs are made."""
        # Constant after construction.
        self._engine = engine
        self._worker = worker
        self._link = worker.link
        self._requests = requests
        self.storage = Storage(
            self._make_arena, lambda size: self._link.send(Reserve(0, -size)), self._await_room
        )

    def put(self, packed: Packed) -> ObjectRef[Any]:
        """Keep a value, and return its ref. Blocks while room is being made.

        Raises StoreFullError, SpillError.
        """
        with self._worker.shelter:
            kind, data = self.storage.store(packed)
            ref = ObjectRef[Any](self._engine.new_id(), self._engine)
            with self._link.turn:
                self._link.counts.own(ref._id)
                nested = tuple(inner._id for inner in packed.refs)
                self._link.send_in_turn(Put(ref._id, int(kind), data, nested))
        return ref

    # --- memory: the main thread sheltered -----------------------------------------------

    def _make_arena(self) -> Arena:
        return Arena(self._worker.id, self._reserve, self._announce, self._retire)

    def _reserve(self, size: int) -> None:
        answer = self._requests.ask(lambda request: Reserve(request, size))
        if isinstance(answer, Granted) and not answer.granted:
            raise StoreFullError(size, answer.free_bytes)

    def _await_room(self, needed_bytes: int) -> None:
        """The driver makes room whenever it is asked; by the next time there may be some."""
        self._link.pump_until(lambda: False, Deadline(ROOM_STEP_SECONDS))

    def _announce(self, segment: int, descriptor: int) -> None:
        self._worker.mappings.add_segment(segment, descriptor)
        self._link.send(Segment(segment), [descriptor])

    def _retire(self, segment: int) -> None:
        self._worker.mappings.remove_segment(segment)
        self._link.send(Retire(segment))
