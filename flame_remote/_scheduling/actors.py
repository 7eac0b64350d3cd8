"""Actors and the order of their calls."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from typing import Final

from flame_remote._ids import ActorId, TaskId, WorkerId, origin_of
from flame_remote._spec import TargetKind, TaskSpec

from .records import ActorRecord, TaskRecord
from .states import (
    ACTOR_TRANSITIONS,
    TASK_TRANSITIONS,
    ActorState,
    ActorStep,
    TaskState,
    TaskStep,
    advance,
)

# Calls sent ahead to one actor, beside those that it runs at a time.
CALLS_AHEAD: Final = 512
# So many workers of one actor lost in a row before its constructor returned: it would go on so.
MAX_LOST_IN_A_ROW: Final = 5


class Actors:
    """Which calls an actor may be sent next. Part of the scheduler; reads its tasks.

    Calls of one caller start in the order in which they were made: one whose arguments are late
    holds up those behind it. Calls of different callers, or in different concurrency groups, do not
    wait for each other.
    """

    def __init__(self, tasks: Mapping[TaskId, TaskRecord]) -> None:
        self.table: dict[ActorId, ActorRecord] = {}  # living ones, and those to come
        self.stirred: dict[ActorId, None] = {}  # whose calls are to be looked at
        self._tasks = tasks

    def add(self, creation: TaskRecord) -> None:
        """Know an actor whose constructor was called."""
        self.table[creation.spec.id] = ActorRecord(creation)

    def add_call(self, record: TaskRecord) -> bool:
        """Queue a call behind those of the same caller; return False if the actor is dead."""
        actor = self.table.get(record.spec.actor)
        if actor is None:
            return False
        plain, group = self._caller_of(record.spec), record.spec.target.group
        caller = record.caller = (plain, group) if group else plain
        queue = actor.queues.get(caller)
        if queue is None:
            queue = actor.queues[caller] = deque()
        queue.append(record)
        actor.is_timed = actor.is_timed or record.spec.target.limits.timeout is not None
        return True

    def _caller_of(self, spec: TaskSpec) -> int:
        """Return whose calls keep their order: the driver's, a plain actor's or, elsewhere, those
        of each task. One process may run two tasks at a time, one of which waits for the other.
        """
        parent = self._tasks.get(spec.parent)
        if parent is not None:
            actor = self.table.get(parent.spec.actor)
            is_alone = actor is None or actor.creation.spec.target.max_concurrency == 1
            if parent.spec.target.kind is TargetKind.FUNCTION or not is_alone:
                return parent.spec.id
        return -origin_of(spec.id)

    def stir(self, actor_id: ActorId) -> None:
        """Have an actor's calls looked at before the event is over."""
        self.stirred[actor_id] = None

    def take_stirred(self) -> Iterable[ActorId]:
        """Return whose calls are to be looked at, each once, and forget them."""
        stirred, self.stirred = self.stirred, {}
        return stirred

    def starting(self, actor_id: ActorId, worker_id: WorkerId) -> None:
        """Its constructor was sent to a worker of its own."""
        actor = self.table[actor_id]
        actor.state = advance(ACTOR_TRANSITIONS, actor.state, ActorStep.SENT)
        actor.worker_id = worker_id

    def lost(self, actor_id: ActorId) -> None:
        """Its worker was lost; another will be tried."""
        actor = self.table[actor_id]
        actor.state = advance(ACTOR_TRANSITIONS, actor.state, ActorStep.LOST)
        actor.worker_id = 0

    def take_restart(self, actor_id: ActorId) -> bool:
        """Count one restart; return False if none is left."""
        actor = self.table[actor_id]
        most = actor.creation.spec.target.restarts.max_restarts
        actor.lost_in_a_row += 1
        if actor.restarts >= most >= 0 or actor.lost_in_a_row > MAX_LOST_IN_A_ROW:
            return False
        actor.restarts += 1
        return True

    def unsend_calls(
        self, actor_id: ActorId, last_started: TaskId
    ) -> tuple[list[TaskRecord], list[TaskRecord]]:
        """Take out the calls that went down with its worker, as (those that had begun, the others).

        Of calls that run beside each other nobody knows exactly which had begun: as many as run at
        a time are taken for those, as calls begin in order.
        """
        actor = self.table[actor_id]
        calls = list(actor.in_flight.values())
        actor.in_flight.clear()
        actor.in_group.clear()
        target = actor.creation.spec.target
        if target.max_concurrency > 1 or target.groups:
            room = {"": target.max_concurrency, **dict(target.groups)}
            begun: list[TaskRecord] = []
            others: list[TaskRecord] = []
            for call in calls:
                group = call.spec.target.group
                if not call.cancelling:  # else it may have been dropped, and others run
                    room[group] -= 1
                (begun if call.cancelling or room[group] >= 0 else others).append(call)
            return begun, others
        begun = [call for call in calls if call.started or call.spec.id == last_started]
        return begun, [call for call in calls if call not in begun]

    def put_back(self, records: Iterable[TaskRecord]) -> None:
        """Queue calls that were sent in vain before all others of their callers. In their order."""
        for record in reversed(list(records)):
            queues = self.table[record.spec.actor].queues
            queues.setdefault(record.caller, deque()).appendleft(record)

    def constructed(self, actor_id: ActorId) -> None:
        """Its constructor has returned."""
        actor = self.table.get(actor_id)
        if actor is None:
            return  # killed meanwhile
        actor.state = advance(ACTOR_TRANSITIONS, actor.state, ActorStep.CONSTRUCTED)
        actor.lost_in_a_row = 0
        if actor.released:
            actor.state = advance(ACTOR_TRANSITIONS, actor.state, ActorStep.RELEASED)
        self.stir(actor_id)

    def released(self, actor_id: ActorId) -> None:
        """No handle is left anywhere."""
        actor = self.table.get(actor_id)
        if actor is not None and not actor.released:
            actor.released = True
            if actor.state is ActorState.ALIVE:
                actor.state = advance(ACTOR_TRANSITIONS, actor.state, ActorStep.RELEASED)
            self.stir(actor_id)

    def may_leave(self, actor_id: ActorId) -> bool:
        """Say whether it has no handle and, after `take_calls`, no call left."""
        actor = self.table.get(actor_id)
        return (
            actor is not None
            and actor.state is ActorState.LEAVING
            and not actor.in_flight
            and not actor.queues
        )

    def take_calls(
        self, actor_id: ActorId, *, may_send: bool = True
    ) -> tuple[WorkerId, list[TaskRecord]]:
        """Take out the calls that are to be sent now; they count as in flight.

        Without `may_send` only those that have ended go.
        """
        batch: list[TaskRecord] = []
        actor = self.table.get(actor_id)
        if actor is None:
            return 0, batch
        is_there = may_send and actor.state in (ActorState.ALIVE, ActorState.LEAVING)
        target = actor.creation.spec.target
        most = CALLS_AHEAD + target.max_concurrency if is_there else 0
        room = most - len(actor.in_flight)
        for caller, queue in list(actor.queues.items()):
            sent_before = len(batch)
            if target.groups and is_there:  # a full one takes nothing from the others
                group = caller[1] if isinstance(caller, tuple) else ""
                room = sent_before + most - actor.in_group.get(group, 0)
            while queue:
                record = queue[0]
                if record.state is TaskState.READY and len(batch) < room:
                    record.state = advance(TASK_TRANSITIONS, record.state, TaskStep.SENT)
                    actor.in_flight[record.spec.id] = record
                    if target.groups:
                        _count_in_group(actor, record, 1)
                    batch.append(record)
                elif record.spec.id in self._tasks:
                    break
                queue.popleft()
            if not queue:
                del actor.queues[caller]
            elif len(batch) > sent_before:
                actor.queues[caller] = actor.queues.pop(caller)  # next time others come first
        return actor.worker_id, batch

    def note_began(self, actor_id: ActorId, now: float) -> None:
        """Note since when the calls run that an actor is running, where somebody wants to know."""
        actor = self.table.get(actor_id)
        if actor is None or not actor.is_timed:
            return
        for record in begun_calls(actor):
            if record.terms is not None and record.terms.began is None:
                record.terms.began = now

    def call_left(self, record: TaskRecord) -> None:
        """A call has ended; if it was queued, `take_calls` will find that out."""
        actor = self.table.get(record.spec.actor)
        if actor is not None:
            was_sent = actor.in_flight.pop(record.spec.id, None) is not None
            if was_sent and actor.creation.spec.target.groups:
                _count_in_group(actor, record, -1)
            self.stir(actor.id)

    def bury(self, actor_id: ActorId) -> list[TaskRecord]:
        """Forget a dead actor; return its constructor and its calls, some of which have ended."""
        actor = self.table.pop(actor_id)
        actor.state = advance(ACTOR_TRANSITIONS, actor.state, ActorStep.ENDED)
        queued = (record for queue in actor.queues.values() for record in queue)
        return [actor.creation, *actor.in_flight.values(), *queued]


def begun_calls(actor: ActorRecord) -> Iterator[TaskRecord]:
    """Yield the calls that an actor has begun: of those sent, as many as run at a time."""
    target = actor.creation.spec.target
    if not target.groups:
        yield from islice(actor.in_flight.values(), target.max_concurrency)
        return
    room = dict(target.groups)
    room[""] = target.max_concurrency - sum(room.values())
    for record in actor.in_flight.values():
        group = record.spec.target.group
        if room[group]:
            room[group] -= 1
            yield record


def _count_in_group(actor: ActorRecord, record: TaskRecord, change: int) -> None:
    group = record.spec.target.group
    actor.in_group[group] = actor.in_group.get(group, 0) + change
