"""Calls that were made here and may be run here after all: kept ones, and sent ones not begun."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from flame_remote._ids import ObjectId, TaskId

from .calls import Call, CallState, Step
from .lanes import Lane
from .shipment import Shipment
from .table import Table


class Claims:
    """What a process can take back of what it has handed to the cluster.

    Belongs to the engine's thread; does no I/O.
    """

    def __init__(self, table: Table, touch: Callable[[Lane], object]) -> None:
        self._table = table
        self._touch = touch
        self.make_key: Callable[[], str] | None = None  # set where batches can be claimed back
        self._shipments: dict[TaskId, Shipment] = {}  # by the calls in them

    def add(self, shipment: Shipment) -> None:
        """Make a shipment one that can be claimed back, where that is done at all."""
        if self.make_key is not None and not shipment.lane.ordered:
            shipment.claim = self.make_key()
            self._shipments.update((call.spec.id, shipment) for call in shipment.calls)

    def forget(self, shipment: Shipment) -> None:
        """It has come back, or was claimed."""
        for call in shipment.calls:
            self._shipments.pop(call.spec.id, None)

    def awaited(self, ids: Iterable[ObjectId]) -> Iterable[Call]:
        """Yield the calls of ours that must end before these objects are there."""
        seen: set[ObjectId] = set()
        left = list(ids)
        while left:
            object_id = left.pop(0)
            stored = self._table.by_id.get(object_id)
            if stored is not None and stored.call is not None and object_id not in seen:
                seen.add(object_id)
                yield stored.call
                left.extend(stored.call.missing)

    def take_kept(self, ids: Iterable[ObjectId]) -> Call | None:
        """Take a function's call that must end first out of its queue, to be run here."""
        for call in self.awaited(ids):
            if not call.lane.ordered and call.state is CallState.QUEUED:
                call.lane.remove(call)
                call.step(Step.TAKEN)
                return call
        return None

    def claimable(self, ids: Iterable[ObjectId]) -> Shipment | None:
        """Return a batch that was sent, with a call in it that must end first."""
        for call in self.awaited(ids):
            shipment = self._shipments.get(call.spec.id)
            if shipment is not None and call.state is CallState.SENT and shipment.task_id:
                return shipment
        return None

    def settle(self, shipment: Shipment, claimed: bool) -> None:
        """Whoever has the claim runs the calls: if that is us, they are back in their queue."""
        self.forget(shipment)
        if claimed:
            calls = [call for call in shipment.calls if call.state is CallState.SENT]
            for call in calls:
                call.step(Step.CAME_BACK)
            shipment.lane.return_calls(calls)
            self._touch(shipment.lane)
