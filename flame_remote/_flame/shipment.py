"""What an engine hands to the cluster as one Flame task."""

from __future__ import annotations

from dataclasses import dataclass

from flame_remote._ids import TaskId

from .batch import CallEntry, Key, Ticket
from .calls import Call
from .lanes import Lane


@dataclass(eq=False)
class Shipment:
    """A Flame task of ours: the calls in it, and where it is.

    `tickets` are of the refs that go with the calls, `cancelled` calls of earlier ones that nobody
    wants any more; `ends` tells an actor that nobody will call it any more. `claim` is the key that
    a worker must take first, "" for none.
    """

    lane: Lane
    calls: list[Call]
    entries: list[CallEntry]
    tickets: list[Ticket]
    cancelled: tuple[TaskId, ...] = ()
    ends: bool = False
    claim: str = ""
    session_id: str = ""  # where it is to be created
    task_id: str = ""  # once it was created
    blob: Key | None = None  # where a large batch lies
