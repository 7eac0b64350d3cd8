"""The calls that have not ended: what they wait for, and what ends with them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from flame_remote._ids import ActorId, TaskId
from flame_remote._spec import TargetKind

from .actors import Actors
from .commands import Command, Ending, EndTask
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

    def __init__(self, fleet: Fleet, decide: Callable[[Command], None]) -> None:
        self.table: dict[TaskId, TaskRecord] = {}
        self.ready = ReadyQueues()  # calls of functions
        self.creations = ReadyQueues()  # constructors of actors
        self.actors = Actors(self.table)
        self._fleet = fleet
        self._decide = decide

    # --- they come ------------------------------------------------------------------------

    def add(self, records: Sequence[TaskRecord]) -> None:
        """Take in calls, in the order in which they were made."""
        table = self.table
        orphans: list[TaskRecord] = []
        for record in records:
            spec = record.spec
            table[spec.id] = record
            if spec.parent and (parent := table.get(spec.parent)) is not None:
                record.depth = parent.depth + 1
            for _, object_id in spec.dependencies:
                producer = table.get(object_id)
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
            self.end(record, Ending.CANCELLED)
            return
        record.state = advance(TASK_TRANSITIONS, record.state, TaskStep.CAME_BACK)
        record.worker_id = 0
        record.lease = None
        record.started = False
        self._queue_of(record).push_front(record)

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
                self.end(record, Ending.CANCELLED)
                continue
            step = TaskStep.RETURNED if succeeded else TaskStep.RAISED
            record.state = advance(TASK_TRANSITIONS, record.state, step)
            del table[task_id]
            if record.spec.target.kind is not TargetKind.FUNCTION:
                self._actor_task_finished(record, succeeded)
            if record.dependents is not None:
                self._settle_dependents(record, succeeded)

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
                ending, because = Ending.CANCELLED, 0
            if record.state is TaskState.READY and not spec.actor:
                self._queue_of(record).discard(record)
            step = TaskStep.CANCELLED if ending is Ending.CANCELLED else TaskStep.RAISED
            record.state = advance(TASK_TRANSITIONS, record.state, step)
            del self.table[spec.id]
            self._decide(EndTask(spec.id, ending, because, record.worker_id, record.attempts))
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
        return self.actors.bury(actor_id)
