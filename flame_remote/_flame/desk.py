"""Takes in calls, says what is to be sent where.

The state of an engine without its I/O. It belongs to the engine's thread; time comes in as a value,
and what there is to do comes out as shipments and lists.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from flame_remote._execute.failure import add_needed_by, encode_error
from flame_remote._ids import ActorId, ObjectId
from flame_remote._outcome import Kind
from flame_remote._spec import UNLIMITED, CallLimits, TaskSpec
from flame_remote.exceptions import FlameError, SessionEndedError, TaskCancelledError

from .batch import CallEntry, Key, Ticket
from .batching import Pace
from .calls import Call, CallState, Step
from .claims import Claims
from .lanes import Lane
from .outcomes import Outcomes
from .replies import LaneMaker, Replies, death_of
from .shipment import Shipment
from .stored import Stored
from .table import Table


class Desk:
    """The calls of one engine, on their way out. `replies` takes in what comes back."""

    def __init__(
        self,
        table: Table,
        pace: Pace,
        make_lane: LaneMaker,
        mailbox: Callable[[ObjectId], Key],
    ) -> None:
        self.table = table
        self._make_lane = make_lane
        self._mailbox = mailbox
        self._touched: dict[Lane, None] = {}  # where there may be something to send
        self.outcomes = Outcomes(table, self._queue, self.touch)
        self.claims = Claims(table, self.touch)
        self.replies = Replies(table, self.outcomes, self.claims, pace, make_lane, self.touch)

    # --- calls ---

    def submit(self, spec: TaskSpec) -> None:
        """Take in a call; the objects that it will make have been begun."""
        try:
            lane = self._lane_of(spec)
        except FlameError as error:
            for object_id in (*(spec.returns or ()), spec.id):
                self.replies.never_arrives(self.table.by_id[object_id], error)
            return
        call = Call(spec, lane)
        self.outcomes.begin(call)
        if call.constructs:
            self.table.by_id[spec.id].lane = lane
        if lane.ordered:
            lane.add(call)
        failure = lane.failure and add_needed_by(lane.failure, call.name)
        if lane.how_it_died:
            failure = encode_error(death_of(lane, call.name))
        failure = failure or self._await_arguments(call)
        if failure:
            self.outcomes.fail(call, failure)
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

    def _wait_for(self, call: Call, stored: Stored) -> None:
        if stored.id not in call.missing:
            call.missing.add(stored.id)
            stored.dependents.append(call)
            self.replies.want(stored)

    def _queue(self, call: Call) -> None:
        call.step(Step.ARGUMENTS_ARRIVED)
        values = [self.table.by_id[object_id] for _, object_id in call.spec.dependencies]
        call.size = len(call.spec.payload) + sum(
            len(value.data) for value in values if isinstance(value.data, (bytes, str))
        )
        passed = [self.table.by_id.get(object_id) for object_id in call.passed_on()]
        target = call.spec.target
        is_special = target.max_retries == 0 or target.limits is not UNLIMITED
        call.alone = (is_special and not call.lane.ordered) or any(
            stored is not None and not stored.done and stored.lane is None for stored in passed
        )
        if not call.lane.ordered:
            call.lane.add(call)
        self.touch(call.lane)

    def touch(self, lane: Lane) -> None:
        """Look at a lane when shipments are asked for the next time."""
        self._touched[lane] = None

    def cancel(self, object_id: ObjectId) -> bool:
        """End a call as far as its caller is concerned; False if it has ended."""
        return self.end(object_id, TaskCancelledError)

    def end(self, object_id: ObjectId, error_of: Callable[[str], FlameError]) -> bool:
        """End a call with an error, which is made from its name; False if it has ended."""
        stored = self.table.by_id.get(object_id)
        call = stored.call if stored is not None else None
        if stored is None or stored.done or call is None:
            return False
        if call.state is CallState.SENT and call.lane.ordered:
            call.lane.cancelled.append(call.spec.id)
            self.touch(call.lane)
        self.outcomes.fail(call, encode_error(error_of(call.name)))
        return True

    def kill(self, actor: ActorId, how: str) -> None:
        """End an actor."""
        stored = self.table.by_id.get(actor)
        if stored is not None and stored.lane is not None and not stored.lane.how_it_died:
            self.replies.actor_died(stored.lane, how)

    def end_service(self, lane: Lane, ended: Callable[[], object]) -> None:
        """A service is not called any more: cancel what has not begun, close it after the rest."""
        for call in list(lane.queue):
            self.outcomes.fail(call, encode_error(TaskCancelledError(call.name)))
        lane.on_idle = ended
        self.replies.close_if_idle(lane)

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
        self.claims.add(shipment)
        return shipment

    def entry_of(self, call: Call) -> CallEntry:
        """Return a call that is ready as a worker gets it."""
        spec = call.spec
        values = []
        for place, object_id in spec.dependencies:
            stored = self.table.by_id[object_id]
            values.append((place, int(stored.kind), stored.data))
        own = spec.id, spec.target.id, spec.payload, tuple(values), spec.returns
        limits = spec.target.limits
        return CallEntry(*own) if limits is UNLIMITED else CallEntry(*own, *_seconds_of(limits))

    def tickets(self, ids: Iterable[ObjectId]) -> list[Ticket]:
        """Return what somebody must know who gets these refs."""
        return self.table.tickets(ids, self._mailbox)

    def look_again_after(self, now: float) -> float | None:
        """Return after how many seconds shipments() may return more, though nothing happens."""
        lanes = self._touched
        waits = [wait for lane in lanes if (wait := lane.look_again_after(now)) is not None]
        return min(waits, default=None)


def _seconds_of(limits: CallLimits) -> tuple[float | None, float | None]:
    return limits.timeout, limits.deadline
