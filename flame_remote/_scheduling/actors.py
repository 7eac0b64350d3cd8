"""Actors and the order of their calls."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import Final

from flame_remote._ids import ActorId, TaskId, WorkerId, origin_of

from .records import ActorRecord, TaskRecord
from .states import ACTOR_TRANSITIONS, ActorState, ActorStep, TaskState, advance

# Calls sent ahead to one actor, beside those that it runs at a time.
CALLS_AHEAD: Final = 512


class Actors:
    """Which calls an actor may be sent next. Part of the scheduler; reads its tasks.

    Calls of one calling process start in the order in which they were made: one whose arguments
    are late holds up those behind it. Calls of different processes do not wait for each other.
    """

    def __init__(self, tasks: Mapping[TaskId, TaskRecord]) -> None:
        self.table: dict[ActorId, ActorRecord] = {}  # living ones, and those to come
        self._tasks = tasks

    def add(self, creation: TaskRecord) -> None:
        """Know an actor whose constructor was called."""
        self.table[creation.spec.id] = ActorRecord(creation)

    def starting(self, actor_id: ActorId, worker_id: WorkerId) -> None:
        """Its constructor was sent to a worker of its own."""
        actor = self.table[actor_id]
        actor.state = advance(ACTOR_TRANSITIONS, actor.state, ActorStep.SENT)
        actor.worker_id = worker_id

    def constructed(self, actor_id: ActorId) -> None:
        """Its constructor has returned."""
        actor = self.table.get(actor_id)
        if actor is not None:
            actor.state = advance(ACTOR_TRANSITIONS, actor.state, ActorStep.CONSTRUCTED)
            if actor.released:
                actor.state = advance(ACTOR_TRANSITIONS, actor.state, ActorStep.RELEASED)

    def released(self, actor_id: ActorId) -> None:
        """No handle is left anywhere."""
        actor = self.table.get(actor_id)
        if actor is not None and not actor.released:
            actor.released = True
            if actor.state is ActorState.ALIVE:
                actor.state = advance(ACTOR_TRANSITIONS, actor.state, ActorStep.RELEASED)

    def may_leave(self, actor_id: ActorId) -> bool:
        """Say whether it has no handle and no call left."""
        actor = self.table.get(actor_id)
        return (
            actor is not None
            and actor.state is ActorState.LEAVING
            and not actor.in_flight
            and not any(actor.queues.values())
        )

    def take_calls(self, actor_id: ActorId) -> tuple[WorkerId, list[TaskRecord]]:
        """Take out the calls that may be sent now; they count as in flight."""
        batch: list[TaskRecord] = []
        actor = self.table.get(actor_id)
        if actor is None or actor.state not in (ActorState.ALIVE, ActorState.LEAVING):
            return 0, batch
        room = CALLS_AHEAD + actor.creation.spec.target.max_concurrency - len(actor.in_flight)
        for queue in actor.queues.values():
            while queue and queue[0].state is TaskState.READY and len(batch) < room:
                record = queue.popleft()
                actor.in_flight[record.spec.id] = record
                batch.append(record)
        return actor.worker_id, batch

    def forget_call(self, record: TaskRecord) -> None:
        """A call has ended, wherever it was."""
        actor = self.table.get(record.spec.actor)
        if actor is None:
            return
        if actor.in_flight.pop(record.spec.id, None) is None:
            queue = actor.queues.get(origin_of(record.spec.id), deque())
            if record in queue:
                queue.remove(record)

    def bury(self, actor_id: ActorId) -> list[TaskRecord]:
        """Forget a dead actor; return what of it has not ended: its calls, its constructor."""
        actor = self.table.pop(actor_id, None)
        if actor is None:
            return []
        actor.state = advance(ACTOR_TRANSITIONS, actor.state, ActorStep.ENDED)
        unfinished = [*actor.in_flight.values(), *(r for q in actor.queues.values() for r in q)]
        if actor.creation.spec.id in self._tasks:
            unfinished.insert(0, actor.creation)
        return unfinished
