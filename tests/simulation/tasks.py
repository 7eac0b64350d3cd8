"""What the simulated driver knows of tasks, actors and requests."""

from __future__ import annotations

import math
from collections.abc import Generator
from typing import TYPE_CHECKING, Any

from flame_remote._ids import ActorId, TaskId
from flame_remote._scheduling.actors import MAX_LOST_IN_A_ROW
from flame_remote._scheduling.records import TaskRecord
from flame_remote._spec import TaskSpec

from .scenario import Template

if TYPE_CHECKING:
    from .worker import SimWorker


class Failure:
    """How a task failed; dependents fail with the same. `origin` is the task where it began."""

    __slots__ = ("kind", "origin")

    def __init__(self, kind: str, origin: TaskId) -> None:
        self.kind = kind
        self.origin = origin

    def __repr__(self) -> str:
        return f"{self.kind} in {self.origin}"


class Again:
    """An attempt has failed that was not the last; as long a pause follows."""

    __slots__ = ("pause",)

    def __init__(self, pause: float) -> None:
        self.pause = pause


Outcome = int | Failure


class SimTask:
    """One call, with the truth about it."""

    __slots__ = (
        "actor",
        "arguments",
        "caller",
        "cancelled",
        "due",
        "failed_attempts",
        "handles",
        "holder",
        "id",
        "lost_running",
        "lost_unreported",
        "number",
        "order",
        "outcome",
        "record",
        "rests_until",
        "sent_at",
        "spec",
        "starts",
        "swollen",
        "template",
        "watchers",
    )

    def __init__(
        self,
        spec: TaskSpec,
        number: int,
        template: Template,
        arguments: tuple[SimTask, ...],
        handles: tuple[SimActor, ...],
        actor: SimActor | None,
    ) -> None:
        self.id = spec.id
        self.spec = spec
        self.record = TaskRecord(spec)
        self.number = number  # of the template
        self.template = template
        self.arguments = arguments
        self.handles = handles  # actors that its arguments give it access to
        self.actor = actor  # whose call it is, or whose construction
        self.caller: object = None  # whose calls on one actor keep their order
        self.order = 0  # among those
        self.outcome: Outcome | None = None
        self.watchers: list[SimRequest] | None = None
        self.holder: SimWorker | None = None  # where it was sent, as the driver sees it
        self.starts = 0
        self.failed_attempts = 0  # that the driver has heard of
        self.rests_until = 0.0
        self.due = math.inf  # its deadline, or that of a task around it
        self.sent_at = 0.0
        self.swollen = False  # it took more memory than it may, and the driver has seen it
        self.lost_running = 0  # times its worker died while it ran
        self.lost_unreported = 0  # times its worker died when it had ended, but not said so
        self.cancelled = False  # somebody asked for that before it ended


class SimActor:
    """One instance."""

    __slots__ = (
        "calls",
        "creation",
        "end",
        "handles",
        "id",
        "in_flight",
        "last_sent",
        "last_started",
        "restarts",
        "restarts_in_a_row",
        "waiting",
    )

    def __init__(self, actor_id: ActorId) -> None:
        self.id = actor_id
        self.creation: SimTask
        self.handles = 0
        self.end = ""  # why it is no more; "released": nobody can call it any more
        self.calls: dict[object, int] = {}  # how many each caller has made
        self.waiting: dict[object, dict[TaskId, SimTask]] = {}  # not sent yet, for each caller
        self.in_flight: dict[TaskId, SimTask] = {}
        self.last_sent: dict[object, int] = {}  # the order of the call sent last, for each caller
        self.last_started: dict[object, int] = {}
        self.restarts = 0
        self.restarts_in_a_row = 0  # since it was constructed

    def note_end(self, end: str) -> None:
        """Note why it is no more; what was called before the last handle went still runs."""
        may_come_back = self.end == "lost" and end != "released"
        if self.end in ("", "released") or may_come_back:
            self.end = end

    def add(self, task: SimTask) -> None:
        """Note a call when it reaches the driver."""
        caller = task.caller
        task.order = self.calls[caller] = self.calls.get(caller, 0) + 1
        self.waiting.setdefault(caller, {})[task.id] = task

    def sent(self, task: SimTask) -> None:
        """Note that a call was sent to the actor's worker."""
        del self.waiting[task.caller][task.id]
        self.in_flight[task.id] = task

    def restarted(self) -> None:
        """Its worker was lost, and with that what it was sent: all of it is to be sent again."""
        self.restarts += 1
        self.restarts_in_a_row += 1
        calls, self.in_flight = list(self.in_flight.values()), {}
        for task in reversed(calls):
            caller = task.caller
            self.waiting[caller] = {task.id: task, **self.waiting.get(caller, {})}
            self.last_sent[caller] = min(self.last_sent[caller], task.order - 1)
            started = self.last_started.get(caller, 0)
            self.last_started[caller] = min(started, task.order - 1)

    @property
    def has_restarts_left(self) -> bool:
        """Whether it must be constructed again if its worker is lost now."""
        most = self.creation.template.max_restarts
        is_hopeless = self.restarts_in_a_row >= MAX_LOST_IN_A_ROW
        return not is_hopeless and (most < 0 or self.restarts < most)

    def retries_of(self, task: SimTask) -> int:
        """Return how often a call may be lost with its worker and run again, -1 for any."""
        own = task.template.max_task_retries
        return (self.creation.template.max_task_retries or 0) if own is None else own

    def ended(self, task: SimTask) -> None:
        """Note that a call has ended, wherever it was."""
        if self.in_flight.pop(task.id, None) is None:
            self.waiting.get(task.caller, {}).pop(task.id, None)


class SimRequest:
    """A wait for tasks, in a worker or in the driver."""

    __slots__ = (
        "answer",
        "blocks",
        "frame",
        "id",
        "left",
        "limit",
        "mode",
        "over",
        "patient",
        "pending",
        "tasks",
        "worker",
    )

    def __init__(
        self, request_id: int, frame: Frame, tasks: list[SimTask], mode: str, limit: float
    ) -> None:
        self.id = request_id
        self.frame = frame
        self.worker = frame.worker
        self.tasks = tasks
        self.mode = mode
        self.limit = limit  # seconds, 0 for none
        self.patient = mode != "any" and not limit
        self.blocks = False  # the scheduler knows of it
        self.left = 0  # so many must end before it can be answered
        self.pending: list[TaskId] = []
        self.over = False  # the driver has answered it, or was told that nobody waits any more
        self.answer: str | None = None  # as it has reached the frame: "ready", "deadlock", "late"

    def watch(self) -> bool:
        """Wait for the tasks at the driver; say whether it can be answered already."""
        waiting = [task for task in self.tasks if task.outcome is None]
        self.pending = [task.id for task in waiting]
        wanted = 1 if self.mode == "any" else len(self.tasks)
        self.left = wanted - (len(self.tasks) - len(waiting))
        if self.left <= 0 or (self.mode != "any" and self._has_failure()):
            return True
        for task in waiting:
            if task.watchers is None:
                task.watchers = []
            task.watchers.append(self)
        return False

    def note(self, outcome: Outcome) -> bool:
        """One of the tasks has ended; say whether that is enough."""
        self.left -= 1
        return self.left <= 0 or (self.mode != "any" and isinstance(outcome, Failure))

    def _has_failure(self) -> bool:
        return any(isinstance(task.outcome, Failure) for task in self.tasks)


class Frame:
    """One body that is being run: an attempt of a task, or a thread of the driver."""

    __slots__ = ("asleep", "body", "handles", "made", "own", "request", "task", "worker")

    def __init__(self, task: SimTask | None, worker: SimWorker | None) -> None:
        self.task = task
        self.worker = worker
        self.body: Generator[Any, Any, Outcome]
        self.made: list[SimTask] = []  # calls, in order
        self.handles: list[SimActor] = list(task.handles) if task is not None else []
        self.own: list[SimActor] = []  # handles that go with the frame
        self.request: SimRequest | None = None
        self.asleep = False
