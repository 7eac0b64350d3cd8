"""Takes in calls, says what is to be sent where, and takes in what came of it.

The state of an engine without its I/O. It belongs to the engine's thread; time comes in as a value,
and what there is to do comes out as shipments and lists.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Final

from flame_remote._execute.failure import add_needed_by, encode_error
from flame_remote._ids import ActorId, ObjectId, TaskId
from flame_remote._outcome import Kind
from flame_remote._spec import TaskSpec
from flame_remote.exceptions import (
    ActorDiedError,
    FlameError,
    SessionEndedError,
    TaskCancelledError,
    WorkerCrashedError,
    WorkerStartError,
)

from .batch import CallEntry, Form, Key, Reply, Result, Ticket
from .batching import Pace
from .calls import Call, CallState, Step
from .lanes import Lane
from .table import Stored, Table

# How long to wait before a call whose process died is sent again: the cluster may need some time
# to notice, and fails what it gives to a dead process meanwhile.
_RETRY_SECONDS: Final = (0.05, 0.5, 5.0)


@dataclass(eq=False)
class Shipment:
    """A Flame task of ours: the calls in it, and where it is."""

    lane: Lane
    calls: list[Call]
    entries: list[CallEntry]
    tickets: list[Ticket]  # of refs that go with the calls
    cancelled: tuple[TaskId, ...] = ()
    ends: bool = False
    claim: str = ""
    task_id: str = ""  # once it was created
    blob: Key | None = None  # where a large batch lies


class Desk:
    """The calls and objects of one engine."""

    def __init__(
        self,
        table: Table,
        pace: Pace,
        make_lane: Callable[[TaskSpec | tuple[str, str, int]], Lane],
        mailbox: Callable[[ObjectId], Key],
    ) -> None:
        self.table = table
        self.pace = pace
        self._make_lane = make_lane
        self._mailbox = mailbox
        self.lanes: dict[Any, Lane] = {}  # of functions, by what tells them apart
        self._unfinished: dict[Call, None] = {}
        self._touched: dict[Lane, None] = {}  # where there may be something to send
        self._endings: deque[tuple[Call, Result]] = deque()
        # To be done by whoever does the I/O, who empties them.
        self.claim: Callable[[], str] | None = None  # makes keys, if batches can be claimed back
        self._shipments: dict[TaskId, Shipment] = {}  # that can be, by the calls in them
        self.publications: list[Stored] = []
        self.wanted: list[Stored] = []  # of others: to be looked for
        self.closing: list[Lane] = []

    # --- calls ---

    def submit(self, spec: TaskSpec) -> None:
        """Take in a call; the objects that it will make have been begun."""
        stored = self.table.by_id[spec.id]
        try:
            lane = self._lane_of(spec)
        except FlameError as error:
            for object_id in (*(spec.returns or ()), spec.id):
                self._fill(self.table.by_id[object_id], Kind.FAILED, encode_error(error), ())
            return
        call = Call(spec, lane)
        for object_id in call.objects:
            self.table.by_id[object_id].call = call
        self._unfinished[call] = None
        if call.constructs:
            stored.lane = lane
        self.table.hold(call.held())
        if lane.ordered:
            lane.add(call)
        failure = lane.failure and add_needed_by(lane.failure, call.name)
        if lane.how_it_died:
            failure = encode_error(self._died(lane, call.name))
        failure = failure or self._await_arguments(call)
        if failure:
            self._fail(call, failure)
        elif not call.missing:
            self._queue(call)

    def _lane_of(self, spec: TaskSpec) -> Lane:
        if spec.actor:
            actor = self.table.by_id.get(spec.actor)
            if actor is None or actor.lane is None:
                raise SessionEndedError(f"the actor of {spec.target.name}()")
            return actor.lane
        return self._make_lane(spec)

    def _await_arguments(self, call: Call) -> bytes:
        """Note what a call has to wait for; return the failure among it, if there is one."""
        for _, object_id in call.spec.dependencies:
            stored = self.table.by_id[object_id]
            if stored.kind == Kind.FAILED:
                stored.was_read = True
                return add_needed_by(stored.data, call.name)
            if not stored.done:
                self._wait_for(call, stored)
        for object_id in call.passed_on():
            # A handle may be used as soon as it arrives: the construction must be on its way first.
            passed = self.table.by_id.get(object_id)
            lane = passed.lane if passed is not None and passed.call is not None else None
            if passed is not None and lane is not None and not lane.is_begun:
                self._wait_for(call, passed)
        return b""

    def _freed_argument(self, call: Call) -> bytes:
        """Return the failure of an argument that was freed while others were awaited."""
        for _, object_id in call.spec.dependencies:
            stored = self.table.by_id[object_id]
            if stored.kind == Kind.FAILED:
                return add_needed_by(stored.data, call.name)
        return b""

    def _wait_for(self, call: Call, stored: Stored) -> None:
        if stored.id not in call.missing:
            call.missing.add(stored.id)
            stored.dependents.append(call)
            self.want(stored)

    def _queue(self, call: Call) -> None:
        call.step(Step.ARGUMENTS_ARRIVED)
        values = [self.table.by_id[object_id] for _, object_id in call.spec.dependencies]
        call.size = len(call.spec.payload) + sum(
            len(value.data) for value in values if isinstance(value.data, (bytes, str))
        )
        passed = [self.table.by_id.get(object_id) for object_id in call.passed_on()]
        call.alone = (call.spec.target.max_retries == 0 and not call.lane.ordered) or any(
            stored is not None and not stored.done and stored.lane is None for stored in passed
        )
        if not call.lane.ordered:
            call.lane.add(call)
        self.touch(call.lane)

    def touch(self, lane: Lane) -> None:
        """Look at a lane when shipments are asked for the next time."""
        self._touched[lane] = None

    def want(self, stored: Stored) -> None:
        """Somebody waits for an object: look for it, if that is not our own call's to make."""
        if not stored.done and stored.call is None and not stored.polled:
            stored.polled = True
            self.wanted.append(stored)

    def cancel(self, object_id: ObjectId) -> bool:
        """End a call as far as its caller is concerned; False if it has ended."""
        stored = self.table.by_id.get(object_id)
        call = stored.call if stored is not None else None
        if stored is None or stored.done or call is None:
            return False
        if call.state is CallState.SENT and call.lane.ordered:
            call.lane.cancelled.append(call.spec.id)
            self.touch(call.lane)
        self._fail(call, encode_error(TaskCancelledError(call.name)))
        return True

    def kill(self, actor: ActorId, how: str) -> None:
        """End an actor."""
        stored = self.table.by_id.get(actor)
        if stored is not None and stored.lane is not None and not stored.lane.how_it_died:
            self.lane_died(stored.lane, how)

    def lane_died(self, lane: Lane, how: str) -> None:
        """An actor is no more: its calls fail, and its session is closed."""
        lane.how_it_died = how
        for call in lane.unfinished:
            self._fail_later(call, encode_error(self._died(lane, call.name)))
        self._work_off()
        self.closing.append(lane)

    def lane_failed(self, lane: Lane, error: FlameError) -> None:
        """Nothing of what was to be run in a session can be run there."""
        data = encode_error(error)
        for call in lane.unfinished:
            self._fail_later(call, data)
        self._work_off()

    def end_service(self, plan: object, ended: Callable[[], object]) -> None:
        """A service is not called any more: cancel what has not begun, close it after the rest."""
        lane = self.lanes.pop(plan, None)
        if lane is None:
            ended()
            return
        for call in list(lane.queue):
            self._fail(call, encode_error(TaskCancelledError(call.name)))
        lane.on_idle = ended
        self._close_if_idle(lane)

    def _close_if_idle(self, lane: Lane) -> None:
        if lane.on_idle is not None and not lane.under_way and not lane.queue:
            self.closing.append(lane)

    @staticmethod
    def _died(lane: Lane, name: str) -> ActorDiedError:
        return ActorDiedError(name.rpartition(".")[0] or name, lane.how_it_died)

    # --- what is to be sent ---

    def shipments(self, now: float, *, hurry: bool = False) -> list[Shipment]:
        """Return the Flame tasks that are to be created now; time in seconds.

        In a hurry everything that can be sent is.
        """
        made: list[Shipment] = []
        for lane in list(self._touched):
            while calls := lane.take(now, hurry=hurry):
                for call in calls:
                    call.step(Step.SENT)
                made.append(self._shipment(lane, calls))
            if lane.needs_carrier(now):
                made.append(self._shipment(lane, []))
            if lane.look_again_after(now) is None:
                del self._touched[lane]
        return made

    def _shipment(self, lane: Lane, calls: list[Call]) -> Shipment:
        passed = {object_id for call in calls for object_id in call.passed_on()}
        lane.under_way += 1
        cancelled, lane.cancelled = tuple(lane.cancelled), []
        ends, lane.ends = lane.ends, False
        entries = [self.entry_of(call) for call in calls]
        shipment = Shipment(lane, calls, entries, self.tickets(passed), cancelled, ends)
        if self.claim is not None and not lane.ordered:
            shipment.claim = self.claim()
            self._shipments.update((call.spec.id, shipment) for call in calls)
        return shipment

    def entry_of(self, call: Call) -> CallEntry:
        """Return a call that is ready as a worker gets it."""
        spec = call.spec
        values = []
        for place, object_id in spec.dependencies:
            stored = self.table.by_id[object_id]
            values.append((place, int(stored.kind), stored.data))
        return CallEntry(spec.id, spec.target.id, spec.payload, tuple(values), spec.returns)

    def tickets(self, ids: Iterable[ObjectId]) -> list[Ticket]:
        """Return what somebody must know who gets these refs."""
        return self.table.tickets(ids, self._mailbox)

    def look_again_after(self, now: float) -> float | None:
        """Return after how many seconds shipments() may return more, though nothing happens."""
        lanes = self._touched
        waits = [wait for lane in lanes if (wait := lane.look_again_after(now)) is not None]
        return min(waits, default=None)

    def created(self, shipment: Shipment, task_id: str) -> None:
        """The cluster has a Flame task."""
        shipment.task_id = task_id
        for call in shipment.calls:
            for object_id in call.objects:
                stored = self.table.by_id.get(object_id)
                if stored is not None and not stored.done:
                    stored.place = (shipment.lane.plan.session_id, task_id, self.table.owner)
            if call.constructs:
                call.lane.is_begun = True
                self._release_dependents(self.table.by_id.get(call.spec.id))
        self._work_off()

    # --- what came of it ---

    def is_handed_over(self, shipment: Shipment) -> bool:
        """Say whether somebody else, too, waits for the reply to a shipment."""
        ids = [object_id for call in shipment.calls for object_id in call.objects]
        stored = [self.table.by_id.get(object_id) for object_id in ids]
        return any(one is not None and one.owner != self.table.owner for one in stored)

    def take_reply(self, shipment: Shipment, reply: Reply, now: float) -> None:
        """A Flame task of ours has ended well."""
        lane = shipment.lane
        lane.note_reply(now)
        lane.running = reply.running
        lane.trouble, lane.losses = "", 0
        self._forget(shipment)
        self.pace.learn(reply.seconds)
        self.pace.note_blocking(reply.blocked)
        if reply.taken:
            return
        tickets = {ticket.id: ticket for ticket in reply.tickets}
        fresh: list[Stored] = []
        for result in reply.results:
            fresh += self._take_result(lane.sent.get(result.id), result, tickets)
        if reply.process != self.table.owner:  # else we would hold things for holding them
            process = f"{lane.plan.session_id} {reply.process}"
            lane.note_held(self.table.pin(process, reply.number, reply.held), now)
        self._work_off()
        self.table.release([stored.id for stored in fresh])
        if shipment.ends:
            self.closing.append(lane)
        self._close_if_idle(lane)
        self.touch(lane)

    def _take_result(
        self, call: Call | None, result: Result, tickets: dict[ObjectId, Ticket]
    ) -> list[Stored]:
        us = self.table.owner
        taken: list[Stored] = []
        for one in result.objects:
            stored = self.table.by_id.get(one.id) if call is not None else None
            owner = us if stored is None else stored.owner
            taken += self.take_tickets(one.inside, tickets, us, owner)
            if stored is None and one.kind == Kind.STORED:  # the call was cancelled meanwhile
                self.table.gone.keys.append(one.data)
        if call is not None:
            self._endings.append((call, result))
        return taken

    def take_tickets(
        self, ids: Iterable[ObjectId], tickets: dict[ObjectId, Ticket], giver: str, owner: str
    ) -> list[Stored]:
        """Take in the tickets of refs in a value; what the reply gave to `giver` is `owner`'s.

        Returns the objects, each counted once more: release() that later.
        """
        taken: dict[ObjectId, Ticket] = {}
        left = list(ids)
        while left:
            ticket = tickets.get(left.pop())
            if ticket is not None and ticket.id not in taken:
                taken[ticket.id] = ticket._replace(owner=owner) if ticket.owner == giver else ticket
                left.extend(ticket.inside)
        fresh = self.table.take_in(list(taken.values()))
        for stored in fresh:
            ticket = taken[stored.id]
            if ticket.form == Form.ACTOR:
                stored.lane = self._make_lane(ticket.data)
            elif stored.owner == self.table.owner:
                self.want(stored)  # else what it contains would never be freed
        return fresh

    def arrived(
        self, stored: Stored, result: Result, tickets: Iterable[Ticket], giver: str
    ) -> None:
        """What somebody else has made, or where it was promised, is there."""
        if stored.done:
            return
        known = {ticket.id: ticket for ticket in tickets}
        fresh = self.take_tickets(result.inside, known, giver, stored.owner)
        self._fill(stored, result.kind, result.data, result.inside)
        self._work_off()
        self.table.release([new.id for new in fresh])

    def never_arrives(self, stored: Stored, error: FlameError) -> None:
        """What was promised will not come."""
        if not stored.done:
            self._fill(stored, Kind.FAILED, encode_error(error), ())
            self._work_off()

    def shipment_lost(self, shipment: Shipment, how: str, now: float) -> None:
        """The process that ran a Flame task died, or what it ran in could not be started again."""
        lane = shipment.lane
        lane.note_reply(now)
        calls = [call for call in shipment.calls if call.state is CallState.SENT]
        if lane.ordered:
            self.lane_died(lane, how)
            return
        lane.not_before = now + _RETRY_SECONDS[min(lane.losses, len(_RETRY_SECONDS) - 1)]
        lane.losses += 1
        for call in calls:
            call.attempts += len(shipment.calls) == 1
            call.alone = True
        again = [call for call in calls if call.may_be_repeated]
        for call in again:
            call.step(Step.CAME_BACK)
        lane.return_calls(again)
        for call in calls:
            if call not in again:
                error = WorkerCrashedError(call.name, call.spec.id, 0, how, call.attempts)
                self._fail_later(call, encode_error(error))
        self._work_off()
        self._close_if_idle(lane)
        self.touch(lane)

    def shipment_refused(self, shipment: Shipment, error: FlameError, now: float) -> None:
        """A Flame task could not be created, or could not be run for a reason that will stay."""
        shipment.lane.note_reply(now)
        data = encode_error(error)
        if shipment.lane.ordered and not isinstance(error, WorkerStartError):
            shipment.lane.how_it_died = str(error)
        for call in shipment.calls:
            if call.state is CallState.SENT:
                self._fail_later(call, data)
        self._work_off()
        self._close_if_idle(shipment.lane)
        self.touch(shipment.lane)

    # --- calls that run in this process, on top of who waits for them ---

    def awaited(self, ids: Iterable[ObjectId]) -> Iterable[Call]:
        """Yield the calls of ours that must end before these objects are there."""
        seen: set[ObjectId] = set()
        left = list(ids)
        while left:
            object_id = left.pop(0)
            stored = self.table.by_id.get(object_id)
            if stored is not None and stored.call is not None and object_id not in seen:
                seen.add(object_id)
                yield stored.call
                left.extend(stored.call.missing)

    def claimable(self, ids: Iterable[ObjectId]) -> Shipment | None:
        """Return a batch that was sent, with a call in it that must end first."""
        for call in self.awaited(ids):
            shipment = self._shipments.get(call.spec.id)
            if shipment is not None and call.state is CallState.SENT and shipment.task_id:
                return shipment
        return None

    def end_claim(self, shipment: Shipment, claimed: bool) -> None:
        """Whoever has the claim runs the calls: if that is us, they are back in their queue."""
        self._forget(shipment)
        if claimed:
            calls = [call for call in shipment.calls if call.state is CallState.SENT]
            for call in calls:
                call.step(Step.CAME_BACK)
            shipment.lane.return_calls(calls)
            self.touch(shipment.lane)

    def _forget(self, shipment: Shipment) -> None:
        for call in shipment.calls:
            self._shipments.pop(call.spec.id, None)

    def has_unsent(self) -> bool:
        """Say whether a call could still be sent; those of actors that wait do not count."""
        return any(
            call.state in (CallState.QUEUED, CallState.WAITING)
            for call in self._unfinished
            if not (call.lane.ordered and call.state is CallState.WAITING)
        )

    def take_back(self, call: Call) -> None:
        """Take a call out of its queue, to run it in this process."""
        call.lane.remove(call)
        call.step(Step.TAKEN)

    def end_here(self, call: Call, result: Result) -> None:
        """A call that ran in this process has ended; the refs inside its value are ours."""
        self._endings.append((call, result))
        self._work_off()

    def _fail(self, call: Call, failure: bytes) -> None:
        self._fail_later(call, failure)
        self._work_off()

    def _fail_later(self, call: Call, failure: bytes) -> None:
        self._endings.append((call, Result(call.spec.id, int(Kind.FAILED), failure)))

    def _work_off(self) -> None:
        """End the calls that are to end, and those that this lets end or begin. In a loop and not
        by recursion: chains of calls may be long.
        """
        while self._endings:
            call, result = self._endings.popleft()
            if call.state is CallState.ENDED:
                continue
            if call.state is CallState.SENT:
                del call.lane.sent[call.spec.id]
            elif call.state is CallState.QUEUED or (
                call.state is CallState.WAITING and call.lane.ordered
            ):
                call.lane.remove(call)
                self.touch(call.lane)  # those behind it may go now
            call.step(Step.ENDED)
            del self._unfinished[call]
            self._fill_objects(call, result)
            if call.constructs and result.kind == Kind.FAILED:
                call.lane.failure = result.data
                for behind in list(call.lane.queue):
                    failure = add_needed_by(result.data, behind.name)
                    self._fail_later(behind, failure)
            self.table.release(call.held())

    def _fill_objects(self, call: Call, result: Result) -> None:
        """Fill what a call has made: its parts, if it was to be taken apart, and its own object."""
        parts = {part.id: part for part in result.parts}
        for object_id in call.spec.returns or ():
            part = parts.get(object_id, result)
            self._fill(self.table.by_id[object_id], part.kind, part.data, part.inside)
        own = self.table.by_id[call.spec.id]
        # Of a whole nobody has a ref, and an actor's end is told by its calls.
        own.was_read = call.spec.returns is not None or bool(call.lane.how_it_died)
        self._fill(own, result.kind, result.data, result.inside)

    def _fill(self, stored: Stored, kind: int, data: Any, inside: tuple[ObjectId, ...]) -> None:
        self.table.fill(stored, kind, data, inside)
        if stored.mailbox is not None and stored.call is not None:
            self.publications.append(stored)
        stored.call = stored.place = None
        self._release_dependents(stored)
        watchers, stored.watchers = stored.watchers, []
        for watcher in watchers:
            watcher(stored)

    def _release_dependents(self, stored: Stored | None) -> None:
        if stored is None:
            return
        dependents, stored.dependents = stored.dependents, []
        for call in dependents:
            if call.state is not CallState.WAITING:
                continue
            call.missing.discard(stored.id)
            if stored.kind == Kind.FAILED and stored.lane is None:
                stored.was_read = True
                failure = add_needed_by(stored.data, call.name)
                self._fail_later(call, failure)
            elif not call.missing and (failure := self._freed_argument(call)):
                self._fail_later(call, failure)
            elif not call.missing:
                self._queue(call)
