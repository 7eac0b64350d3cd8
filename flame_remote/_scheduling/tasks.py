"""The calls that have not ended: what they wait for, and what ends with them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence

from flame_remote._ids import ActorId, ObjectId, TaskId
from flame_remote._spec import UNLIMITED, TargetKind

from .actors import Actors
from .alarms import Alarms, What
from .clock import Clock
from .commands import STOPPED, Command, EndActor, Ending, EndTask, RestartActor
from .fleet import Fleet
from .queues import ReadyQueues
from .records import TaskRecord
from .states import TASK_TRANSITIONS, TaskState, TaskStep, advance
from .waiting import runs_anywhere


class Tasks:
    """Leads each task from its call to its end. Part of the scheduler.

    A task that ends without a result ends its dependents with it; a constructor its actor, and so
    the actor's calls.
    """

    def __init__(
        self, fleet: Fleet, clock: Clock, alarms: Alarms, decide: Callable[[Command], None]
    ) -> None:
        self.table: dict[TaskId, TaskRecord] = {}
        # Who makes an object that is one of several; all others are made by the task of their id.
        self.makers: dict[ObjectId, TaskRecord] = {}
        self.ready = ReadyQueues()  # calls of functions
        self.creations = ReadyQueues()  # constructors of actors
        self.actors = Actors(self.table)
        self._fleet = fleet
        self._clock = clock
        self._alarms = alarms
        self._decide = decide

    # --- they come ------------------------------------------------------------------------

    def add(self, records: Sequence[TaskRecord]) -> None:
        """Take in calls, in the order in which they were made."""
        table, makers = self.table, self.makers
        orphans: list[TaskRecord] = []
        for record in records:
            spec = record.spec
            table[spec.id] = record
            if spec.returns:
                makers.update(dict.fromkeys(spec.returns, record))
            if spec.parent and (parent := table.get(spec.parent)) is not None:
                record.depth = parent.depth + 1
                if parent.priority or parent.terms is not None:
                    _inherit(record, parent)
            if record.terms is not None or spec.target.limits is not UNLIMITED:
                self._limit(record)
            for _, object_id in spec.dependencies:
                producer = table.get(object_id) or makers.get(object_id)
                if producer is not None:
                    record.missing += 1
                    if producer.dependents is None:
                        producer.dependents = []
                    producer.dependents.append(record)
            if spec.target.kind is TargetKind.ACTOR:
                self.actors.add(record)
            elif spec.actor and not self.actors.add_call(record):
                orphans.append(record)
            if not record.missing:
                self._make_ready(record)
        # Only now: a later one may depend on it, and must know it to end with it.
        for record in orphans:
            self.end(record, Ending.ACTOR_DIED, because=record.spec.actor)

    def _limit(self, record: TaskRecord) -> None:
        """Apply what a target says of all its calls, beside what a call has inherited."""
        limits = record.spec.target.limits
        if limits.priority is not None:
            record.priority = limits.priority
        if limits.timeout is not None or limits.max_calls or limits.memory_bytes:
            record.own_terms()
        if limits.deadline is not None:
            terms = record.own_terms()
            deadline = self._clock.now + limits.deadline
            if deadline < terms.deadline:
                terms.deadline, terms.deadline_of = deadline, record.spec
        if record.terms is not None and record.terms.deadline < math.inf:
            self._alarms.set(record.terms.deadline, What.DEADLINE, record)

    def _make_ready(self, record: TaskRecord) -> None:
        record.state = advance(TASK_TRANSITIONS, record.state, TaskStep.ARGUMENTS_ARRIVED)
        if record.spec.actor:
            self.actors.stir(record.spec.actor)
        else:
            self._queue_of(record).push(record)

    def _queue_of(self, record: TaskRecord) -> ReadyQueues:
        return self.ready if runs_anywhere(record) else self.creations

    # --- they come back -------------------------------------------------------------------

    def come_back(self, record: TaskRecord) -> None:
        """A task was not started, or its worker was lost and a retry is left: it waits again."""
        if record.cancelling:
            self.end(record, record.ending)
            return
        record.state = advance(TASK_TRANSITIONS, record.state, TaskStep.CAME_BACK)
        self._leave_worker(record)
        self._queue_of(record).push_front(record)

    def restart_actor(self, actor_id: ActorId, last_started: TaskId) -> None:
        """Construct an actor again whose worker was lost. Calls that had begun there end, but for
        those that may be retried; all others wait for it in their old order."""
        actors, actor = self.actors, self.actors.table[actor_id]
        begun, others = actors.unsend_calls(actor_id, last_started)
        lost: list[TaskRecord] = []
        waiting: list[TaskRecord] = []
        for call in begun:
            call.attempts += 1
            is_lost = call.cancelling or call.attempts > actor.retries_of(call) >= 0
            (lost if is_lost else waiting).append(call)
        for call in others:
            (lost if call.cancelling else waiting).append(call)
        for call in waiting:
            call.state = advance(TASK_TRANSITIONS, call.state, TaskStep.CAME_BACK)
            self._leave_worker(call)
        actors.put_back(waiting)
        actors.lost(actor_id)
        old, creation = actor.creation, TaskRecord(actor.creation.spec)
        creation.priority, creation.depth = old.priority, old.depth
        actor.creation = self.table[actor_id] = creation
        self._decide(RestartActor(actor_id, actor.restarts))
        self._make_ready(creation)
        for call in lost:
            self.end(call, Ending.ACTOR_RESTARTS, because=actor_id)

    @staticmethod
    def _leave_worker(record: TaskRecord) -> None:
        record.worker_id = 0
        record.lease = None
        record.started = False

    # --- they are tried again -------------------------------------------------------------

    def try_again(
        self, assigned: dict[TaskId, TaskRecord], failed: Sequence[tuple[TaskId, float, str]]
    ) -> None:
        """Let tasks rest of which an attempt has failed, and take them out of `assigned`.

        `failed` says for how many seconds each is to rest, and what is to be said of the attempt.
        """
        for task_id, seconds, failure in failed:
            record = assigned.pop(task_id, None)
            if record is None or record.state is not TaskState.ASSIGNED:
                continue  # was given back meanwhile
            record.own_terms().failures.append(failure)
            if record.cancelling:
                self.end(record, record.ending)
                continue
            record.state = advance(TASK_TRANSITIONS, record.state, TaskStep.RAISED_ONCE)
            self._leave_worker(record)
            if seconds > 0:
                self._alarms.set(self._clock.now + seconds, What.REST, record)
            else:
                self.resume(record)

    def resume(self, record: TaskRecord) -> None:
        """A task has rested: it waits for a worker again, behind those that wait already."""
        record.state = advance(TASK_TRANSITIONS, record.state, TaskStep.RESTED)
        self._queue_of(record).push(record)

    # --- they end -------------------------------------------------------------------------

    def finish(
        self, assigned: dict[TaskId, TaskRecord], endings: Sequence[tuple[TaskId, bool]]
    ) -> None:
        """End tasks with the results that their worker has sent, and take them out of `assigned`.

        `endings` pairs each with whether it succeeded.
        """
        table = self.table
        for task_id, succeeded in endings:
            record = assigned.pop(task_id, None)
            if record is None or record.state is not TaskState.ASSIGNED:
                continue  # was given back, or ended meanwhile with its actor
            if record.cancelling:
                self.end(record, record.ending)
                continue
            step = TaskStep.RETURNED if succeeded else TaskStep.RAISED
            record.state = advance(TASK_TRANSITIONS, record.state, step)
            # As `_forget`, without a call (benchmarks: submit of no-op tasks).
            del table[task_id]
            if record.spec.returns:
                self._forget_parts(record.spec.returns)
            if record.spec.target.kind is not TargetKind.FUNCTION:
                self._actor_task_finished(record, succeeded)
            if record.dependents is not None:
                self._settle_dependents(record, succeeded)

    def _forget(self, record: TaskRecord) -> None:
        del self.table[record.spec.id]
        self._forget_parts(record.spec.returns or ())

    def _forget_parts(self, parts: Sequence[ObjectId]) -> None:
        for object_id in parts:
            del self.makers[object_id]

    def maker_of(self, object_id: ObjectId) -> TaskRecord | None:
        """Return the unfinished task that makes an object, if there is one."""
        return self.table.get(object_id) or self.makers.get(object_id)

    def _actor_task_finished(self, record: TaskRecord, succeeded: bool) -> None:
        if record.spec.actor:
            self.actors.call_left(record)
        elif succeeded:
            self.actors.constructed(record.spec.id)
        else:
            self.end_actor(record.spec.id)

    def _settle_dependents(self, record: TaskRecord, succeeded: bool) -> None:
        dependents, record.dependents = record.dependents or (), None
        for dependent in dependents:
            if dependent.state is not TaskState.PENDING:
                continue  # cancelled, or failed by another argument, meanwhile
            if not succeeded:
                self.end(dependent, Ending.ARGUMENT_FAILED, because=record.spec.id)
                continue
            dependent.missing -= 1
            if not dependent.missing:
                self._make_ready(dependent)

    def end(self, record: TaskRecord, ending: Ending, because: TaskId = 0) -> None:
        """End a task without a result of its own, and with it whatever needs its result."""
        unsettled = [(record, ending, because)]
        while unsettled:  # a loop: chains of dependents may be longer than Python's stack
            record, ending, because = unsettled.pop()
            spec = record.spec
            if spec.id not in self.table:
                continue  # it took part in two ways
            if record.cancelling:
                ending = record.ending
            if ending in STOPPED:
                because = 0
            if record.state is TaskState.READY and not spec.actor:
                self._queue_of(record).discard(record)
            step = TaskStep.CANCELLED if ending is Ending.CANCELLED else TaskStep.RAISED
            record.state = advance(TASK_TRANSITIONS, record.state, step)
            self._forget(record)
            command = EndTask(spec.id, ending, because, record.worker_id, record.attempts)
            if ending is Ending.DEADLINE and record.terms is not None:
                command.deadline_of = record.terms.deadline_of
            self._decide(command)
            if spec.actor:
                self.actors.call_left(record)
            elif spec.target.kind is TargetKind.ACTOR:
                unsettled += [(call, Ending.ACTOR_DIED, spec.id) for call in self._bury(spec.id)]
            dependents, record.dependents = record.dependents or (), None
            unsettled += [
                (dependent, Ending.ARGUMENT_FAILED, spec.id)
                for dependent in dependents
                if dependent.state is TaskState.PENDING
            ]

    def end_all(self, queues: ReadyQueues, ending: Ending) -> None:
        """End what waits in `queues`."""
        for record in list(queues):
            self.end(record, ending)

    def end_actor(self, actor_id: ActorId) -> None:
        """The actor is dead: so are its calls, and its constructor if it has not returned."""
        self.end_calls(actor_id, self._bury(actor_id))

    def give_up_actor(self, actor_id: ActorId) -> None:
        """The actor will be dead: nothing more is sent to it.

        What its worker has ends when that is lost: it goes on until then, with what its arguments
        refer to.
        """
        records = self._bury(actor_id)
        self.end_calls(actor_id, [r for r in records if r.state is not TaskState.ASSIGNED])

    def end_calls(self, actor_id: ActorId, records: Iterable[TaskRecord]) -> None:
        """End calls of a dead actor, and its constructor; some may have ended before."""
        for record in records:
            self.end(record, Ending.ACTOR_DIED, because=actor_id)

    def _bury(self, actor_id: ActorId) -> list[TaskRecord]:
        actor = self.actors.table.get(actor_id)
        if actor is None:
            return []  # buried already, with its constructor
        worker = self._fleet.workers.get(actor.worker_id)
        if worker is not None:
            self._fleet.stop(worker)
        self._decide(EndActor(actor_id))
        return self.actors.bury(actor_id)


def _inherit(record: TaskRecord, parent: TaskRecord) -> None:
    """Let a call have the priority and the deadline of the task that makes it."""
    record.priority = parent.priority
    if parent.terms is not None and parent.terms.deadline < math.inf:
        terms = record.own_terms()
        terms.deadline, terms.deadline_of = parent.terms.deadline, parent.terms.deadline_of
