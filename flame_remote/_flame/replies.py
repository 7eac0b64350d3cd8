"""What comes back from the cluster: replies, losses, and what other processes have made."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Final

from flame_remote._execute.failure import encode_error
from flame_remote._ids import ObjectId
from flame_remote._outcome import Kind
from flame_remote._spec import TaskSpec
from flame_remote.exceptions import ActorDiedError, FlameError, WorkerCrashedError, WorkerStartError

from .batch import Form, Reply, Result, Ticket
from .batching import Pace
from .calls import Call, CallState, Step
from .claims import Claims
from .lanes import Lane
from .lost import ProcessLost
from .outcomes import Outcomes
from .shipment import Shipment
from .stored import Stored
from .table import Table

# How long to wait before a call whose process died is sent again: the cluster may need some time
# to notice, and fails what it gives to a dead process meanwhile.
_RETRY_SECONDS: Final = (0.05, 0.5, 5.0)
# In a row, of processes that were dead before: more than that are no remains of one crash.
_INNOCENT_LOSSES: Final = 10
# Where a local cluster goes on with what the process has written.
_OUTPUT: Final = "; the last lines of its standard error:\n"
_PID: Final = re.compile(r"\(pid (\d+)\)")

LaneMaker = Callable[["TaskSpec | tuple[str, str, int]"], Lane]


class Replies:
    """Takes in what came of shipments. Belongs to the engine's thread; does no I/O."""

    def __init__(
        self,
        table: Table,
        outcomes: Outcomes,
        claims: Claims,
        pace: Pace,
        make_lane: LaneMaker,
        touch: Callable[[Lane], object],
    ) -> None:
        self._table = table
        self._outcomes = outcomes
        self._claims = claims
        self._pace = pace
        self._make_lane = make_lane
        self._touch = touch
        # To be done by whoever does the I/O, who empties them.
        self.wanted: list[Stored] = []  # of others: to be looked for
        self.closing: list[Lane] = []

    # --- shipments ---

    def created(self, shipment: Shipment, task_id: str) -> None:
        """The cluster has a Flame task."""
        shipment.task_id = task_id
        by_id = self._table.by_id
        for call in shipment.calls:
            for object_id in call.objects:
                stored = by_id.get(object_id)
                if stored is not None and not stored.done:
                    stored.place = (shipment.session_id, task_id, self._table.owner)
            if call.constructs:
                call.lane.is_begun = True
                if (made := by_id.get(call.spec.id)) is not None:
                    self._outcomes.release_dependents(made)
        self._outcomes.work_off()

    def is_handed_over(self, shipment: Shipment) -> bool:
        """Say whether somebody else, too, waits for the reply to a shipment."""
        ids = [object_id for call in shipment.calls for object_id in call.objects]
        stored = [self._table.by_id.get(object_id) for object_id in ids]
        return any(one is not None and one.owner != self._table.owner for one in stored)

    def take(self, shipment: Shipment, reply: Reply, now: float) -> None:
        """A Flame task of ours has ended well."""
        lane = shipment.lane
        lane.note_reply(now)
        lane.running = reply.running
        lane.trouble, lane.losses = "", 0
        self._claims.forget(shipment)
        self._pace.learn(reply.seconds)
        self._pace.note_blocking(reply.blocked)
        if reply.taken:
            return
        tickets = {ticket.id: ticket for ticket in reply.tickets}
        taken: list[Stored] = []
        for result in reply.results:
            taken += self._take_result(lane.sent.get(result.id), result, tickets)
        if reply.process != self._table.owner:  # else we would hold things for holding them
            process = f"{shipment.session_id} {reply.process}"
            lane.note_held(self._table.pin(process, reply.number, reply.held), now)
        self._outcomes.work_off()
        self._table.release([stored.id for stored in taken])
        if shipment.ends:
            self.closing.append(lane)
        self._go_on(lane)

    def _take_result(
        self, call: Call | None, result: Result, tickets: dict[ObjectId, Ticket]
    ) -> list[Stored]:
        us = self._table.owner
        taken: list[Stored] = []
        for one in result.objects:
            stored = self._table.by_id.get(one.id) if call is not None else None
            owner = us if stored is None else stored.owner
            taken += self.take_tickets(one.inside, tickets, us, owner)
            if stored is None and one.kind == Kind.STORED:  # the call was cancelled meanwhile
                self._table.gone.keys.append(one.data)
        if call is not None:
            self._outcomes.end_later(call, result)
        return taken

    def discard(self, result: Result, tickets: Iterable[Ticket], giver: str) -> None:
        """Let go of what came too late for anybody to want it."""
        known = {ticket.id: ticket for ticket in tickets}
        taken = self.take_tickets(result.inside, known, giver, self._table.owner)
        if result.kind == Kind.STORED:
            self._table.gone.keys.append(result.data)
        self._table.release([stored.id for stored in taken])

    def lost(self, shipment: Shipment, lost: ProcessLost, now: float) -> None:
        """The process that ran a Flame task died, or what it ran in could not be started again."""
        lane = shipment.lane
        lane.note_reply(now)
        if lane.ordered:
            self.actor_died(lane, str(lost))
            return
        if lost.stays and shipment.session_id == lane.plan.session_id:
            lane.renew()
        counts = not lost.never_began or lane.losses > _INNOCENT_LOSSES
        lane.not_before = now + _RETRY_SECONDS[min(lane.losses, len(_RETRY_SECONDS) - 1)]
        lane.losses += 1
        calls = [call for call in shipment.calls if call.state is CallState.SENT]
        for call in calls:
            call.attempts += len(shipment.calls) == 1 and counts
            call.alone = True
        again = [call for call in calls if call.may_be_repeated]
        for call in again:
            call.step(Step.CAME_BACK)
        lane.return_calls(again)
        for call in calls:
            if call not in again:
                self._outcomes.fail_later(call, encode_error(_crash_of(call, str(lost))))
        self._outcomes.work_off()
        self._go_on(lane)

    def refused(self, shipment: Shipment, error: FlameError, now: float) -> None:
        """A Flame task could not be created, or could not be run for a reason that will stay."""
        lane = shipment.lane
        lane.note_reply(now)
        if lane.ordered and not isinstance(error, WorkerStartError):
            lane.how_it_died = str(error)
        data = encode_error(error)
        for call in shipment.calls:
            if call.state is CallState.SENT:
                self._outcomes.fail_later(call, data)
        self._outcomes.work_off()
        self._go_on(lane)

    def _go_on(self, lane: Lane) -> None:
        self.close_if_idle(lane)
        self._touch(lane)

    # --- sessions ---

    def actor_died(self, lane: Lane, how: str) -> None:
        """An actor is no more: its calls fail, and its session is closed."""
        lane.how_it_died, _, lane.last_output = how.partition(_OUTPUT)
        for call in lane.unfinished:
            self._outcomes.fail_later(call, encode_error(death_of(lane, call.name)))
        self._outcomes.work_off()
        self.closing.append(lane)

    def close_if_idle(self, lane: Lane) -> None:
        """Close the session of a service that has ended, once nothing runs there."""
        if lane.on_idle is not None and not lane.under_way and not lane.queue:
            self.closing.append(lane)

    # --- what others have made ---

    def want(self, stored: Stored) -> None:
        """Somebody waits for an object: look for it, if that is not our own call's to make."""
        if not stored.done and stored.call is None and not stored.polled:
            stored.polled = True
            self.wanted.append(stored)

    def take_tickets(
        self, ids: Iterable[ObjectId], tickets: dict[ObjectId, Ticket], giver: str, owner: str
    ) -> list[Stored]:
        """Take in the tickets of refs in a value; what the reply gave to `giver` is `owner`'s.

        Returns the objects, each counted once more: release() that later.
        """
        reached: dict[ObjectId, Ticket] = {}
        left = list(ids)
        while left:
            ticket = tickets.get(left.pop())
            if ticket is not None and ticket.id not in reached:
                is_his = ticket.owner == giver
                reached[ticket.id] = ticket._replace(owner=owner) if is_his else ticket
                left.extend(ticket.inside)
        taken = self._table.take_in(list(reached.values()))
        for stored in taken:
            ticket = reached[stored.id]
            if ticket.form == Form.ACTOR:
                if stored.lane is None:
                    stored.lane = self._make_lane(ticket.data)
            elif stored.owner == self._table.owner:
                self.want(stored)  # else what it contains would never be freed
        return taken

    def arrived(
        self, stored: Stored, result: Result, tickets: Iterable[Ticket], giver: str
    ) -> None:
        """What somebody else has made, or where it was promised, is there."""
        if stored.done:
            return
        known = {ticket.id: ticket for ticket in tickets}
        taken = self.take_tickets(result.inside, known, giver, stored.owner)
        self._outcomes.fill(stored, result.kind, result.data, result.inside)
        self._outcomes.work_off()
        self._table.release([new.id for new in taken])

    def never_arrives(self, stored: Stored, error: FlameError) -> None:
        """What was promised will not come."""
        if not stored.done:
            self._outcomes.fill(stored, Kind.FAILED, encode_error(error), ())
            self._outcomes.work_off()


def death_of(lane: Lane, name: str) -> ActorDiedError:
    """Return the error of a call on an actor that is no more; `name` is that of the method."""
    return ActorDiedError(name.rpartition(".")[0] or name, lane.how_it_died, lane.last_output)


def _crash_of(call: Call, how: str) -> WorkerCrashedError:
    how, _, output = how.partition(_OUTPUT)
    pid = _PID.search(how)
    process = int(pid[1]) if pid is not None else 0
    return WorkerCrashedError(call.name, call.spec.id, process, how, call.attempts, output)
