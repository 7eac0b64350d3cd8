"""Words for tests of the scheduler: targets, calls, and what workers say about them."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any, Final

from flame_remote._ids import ORIGIN_SHIFT, WorkerId
from flame_remote._scheduling import commands, events
from flame_remote._scheduling.records import TaskRecord
from flame_remote._scheduling.scheduler import Scheduler
from flame_remote._spec import Demand, Target, TargetKind, TaskSpec

_numbers: Final = itertools.count(1)  # of targets and calls; only their order matters
SHORT: Final = 1e-6  # seconds; thousands of such calls fit into one window


def function(name: str = "f", *, max_retries: int = 3, **amounts: float) -> Target:
    """Return a function that takes one CPU, or what `amounts` say."""
    demand = Demand.of(amounts or {"CPU": 1.0})
    return Target(next(_numbers), TargetKind.FUNCTION, name, b"", demand, max_retries)


def actor_class(
    name: str = "Actor", *, max_retries: int = 0, max_concurrency: int = 1, **amounts: float
) -> Target:
    """Return a class whose instances take nothing, or what `amounts` say."""
    demand = Demand.of(amounts)
    return Target(next(_numbers), TargetKind.ACTOR, name, b"", demand, max_retries, max_concurrency)


def method(name: str = "method", group: str = "") -> Target:
    """Return a method, in a concurrency group if it is named."""
    number = next(_numbers)
    return Target(number, TargetKind.METHOD, name, b"", Demand(), 0, method=name, group=group)


def call(
    target: Target | None = None,
    *,
    after: Sequence[TaskRecord] = (),
    parent: TaskRecord | None = None,
    on: TaskRecord | None = None,
    made_by: WorkerId = 0,
) -> TaskRecord:
    """Return a call; it takes the results of `after`. `on` is the actor's constructor call."""
    target = target or function()
    return TaskRecord(
        TaskSpec(
            (made_by << ORIGIN_SHIFT) + next(_numbers),
            target,
            (),
            tuple((place, record.spec.id) for place, record in enumerate(after)),
            (),
            on.spec.id if on is not None else 0,
            parent.spec.id if parent is not None else 0,
        )
    )


def calls(number: int, target: Target | None = None, **others: Any) -> list[TaskRecord]:
    """Return so many calls of one target."""
    target = target or function()
    return [call(target, **others) for _ in range(number)]


class Driven:
    """A scheduler and somebody who tells it things; the clock stands still unless it is moved."""

    def __init__(self, **amounts: float) -> None:
        self.scheduler = Scheduler(amounts or {"CPU": 2.0})
        self.now = 100.0

    def tell(self, event: events.Event) -> list[commands.Command]:
        """Tell the scheduler, return what it wants done."""
        return self.scheduler.handle(self.now, event)

    def submit(self, *records: TaskRecord) -> list[commands.Command]:
        """Make calls, all at once."""
        return self.tell(events.TasksSubmitted(records))

    def end(
        self,
        worker_id: WorkerId,
        *records: TaskRecord,
        failed: bool = False,
        seconds: float | None = None,
    ) -> list[commands.Command]:
        """Let a worker send results; `seconds` is how long each call took."""
        measured: Mapping[int, tuple[int, float]] = {}
        if seconds is not None:
            measured = {record.spec.target.id: (1, seconds) for record in records}
        endings = [(record.spec.id, not failed) for record in records]
        return self.tell(events.TasksEnded(worker_id, endings, measured))

    def give_back(self, worker_id: WorkerId, *records: TaskRecord) -> list[commands.Command]:
        """Let a worker give back what it has not started."""
        return self.tell(events.TasksReturned(worker_id, [record.spec.id for record in records]))

    def block(
        self,
        record: TaskRecord,
        *awaited: TaskRecord,
        request: int = 1,
        patient: bool = True,
        returned: Sequence[TaskRecord] = (),
    ) -> list[commands.Command]:
        """Let a task wait, on its worker, for others."""
        return self.tell(
            events.TaskBlocked(
                record.worker_id,
                request,
                record.spec.id,
                [other.spec.id for other in awaited],
                patient,
                [other.spec.id for other in returned],
            )
        )

    def unblock(self, record: TaskRecord, *, request: int = 1) -> list[commands.Command]:
        """Let a wait of a task be over."""
        return self.tell(events.TaskUnblocked(record.worker_id, request))

    def cancel(
        self, record: TaskRecord, *, force: bool = False, running: bool = False
    ) -> list[commands.Command]:
        """Let somebody cancel a task."""
        return self.tell(events.CancelRequested(record.spec.id, force, running))

    def lose(
        self, worker_id: WorkerId, *, running: TaskRecord | None = None
    ) -> list[commands.Command]:
        """Let a worker die, and `running` be what it had started last."""
        last_started = running.spec.id if running is not None else 0
        return self.tell(events.WorkerLost(worker_id, last_started))

    def tell_heard(self, worker_id: WorkerId) -> None:
        """Let a worker report for the first time."""
        self.tell(events.WorkerHeard(worker_id))

    def tick(self, seconds: float) -> list[commands.Command]:
        """Let time pass, then say so."""
        self.now += seconds
        return self.tell(events.Tick())

    def run_ahead(self, target: Target) -> None:
        """Let a worker measure that calls of a target are short, and be idle again."""
        first = call(target)
        self.submit(first)
        self.end(first.worker_id, first, seconds=SHORT)


def ended_with(
    decided: Sequence[commands.Command],
) -> dict[int, commands.Ending]:
    """Return how the commands end tasks."""
    return {
        command.task_id: command.ending
        for command in decided
        if isinstance(command, commands.EndTask)
    }
