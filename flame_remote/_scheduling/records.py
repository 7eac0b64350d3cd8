"""What the scheduler knows of each task, worker and actor. Only the scheduler changes these."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence

from flame_remote._environment import Environment
from flame_remote._ids import ActorId, ObjectId, TaskId, WorkerId
from flame_remote._spec import Target, TaskSpec

from .resources import Lease
from .states import ActorState, Ending, TaskState

# Whose calls on an actor keep their order: a caller's, of each concurrency group by themselves.
Caller = int | tuple[int, str]


class Terms:
    """What a task has beside the ordinary: few have any of this."""

    __slots__ = (
        "began",
        "deadline",
        "deadline_of",
        "ending",
        "failures",
        "sendings",
        "sent_at",
    )

    def __init__(self) -> None:
        self.deadline = math.inf  # on the clock of the scheduler
        self.deadline_of: TaskSpec | None = None  # whose it is: its own, or of a task around it
        self.ending = Ending.CANCELLED  # as what it ends if it is stopped
        self.failures: list[str] = []  # what is to be said of attempts that have failed
        self.sendings = 0  # to a worker, if the time that it runs is limited
        self.sent_at = 0.0
        self.began: float | None = None  # of a call on an actor: since when it has been running


class TaskRecord:
    """One call that has not ended. Small: a hundred thousand may be pending."""

    __slots__ = (
        "attempts",
        "caller",
        "cancelling",
        "dependents",
        "depth",
        "lease",
        "missing",
        "priority",
        "spec",
        "started",
        "state",
        "terms",
        "worker_id",
    )

    def __init__(self, spec: TaskSpec) -> None:
        self.spec = spec
        self.state = TaskState.PENDING
        self.missing = 0  # arguments that have not arrived
        self.attempts = 0  # times it was running when its worker was lost
        self.depth = 0  # how many tasks it is nested in; deeper ones run first
        self.cancelling = False
        self.caller: Caller = 0  # of an actor's method: whose calls keep their order
        self.worker_id: WorkerId = 0
        self.lease: Lease | None = None  # what it runs under on its worker
        self.started = False  # it has waited for objects there, so it had started
        self.dependents: list[TaskRecord] | None = None
        self.priority = 0  # higher ones run first
        self.terms: Terms | None = None

    def own_terms(self) -> Terms:
        """Return its terms, to be changed."""
        if self.terms is None:
            self.terms = Terms()
        return self.terms

    @property
    def ending(self) -> Ending:
        """As what it ends if it is stopped."""
        return Ending.CANCELLED if self.terms is None else self.terms.ending

    @property
    def starts(self) -> int:
        """How often it was started, this time included."""
        return 1 + self.attempts + (0 if self.terms is None else len(self.terms.failures))


class BlockedRequest:
    """A task in the main thread of a worker, waiting for objects."""

    __slots__ = ("candidates", "object_ids", "patient", "request_id", "task_id")

    def __init__(
        self, request_id: int, task_id: TaskId, object_ids: Sequence[ObjectId], patient: bool
    ) -> None:
        self.request_id = request_id
        self.task_id = task_id
        self.object_ids = object_ids
        self.patient = patient
        # Tasks that this worker might run itself meanwhile, each once.
        self.candidates = deque(dict.fromkeys(object_ids))


class WorkerRecord:
    """One process. `assigned` are the tasks sent to it, in order, that have not ended.

    A worker of functions runs one task at a time, and on top of a blocked one what that waits for:
    its started tasks form a stack, and `assigned` has them from the bottom.
    """

    __slots__ = (
        "actor_id",
        "assigned",
        "blocked",
        "calls",
        "concurrency",
        "devices",
        "doomed",
        "environment",
        "heard",
        "heard_at",
        "id",
        "is_extra",
        "is_used_up",
        "leases",
        "quiet_since",
        "recalled",
    )

    def __init__(
        self,
        worker_id: WorkerId,
        actor_id: ActorId,
        concurrency: int = 1,
        environment: Environment | None = None,
        devices: tuple[int, ...] = (),
    ) -> None:
        self.id = worker_id
        self.actor_id = actor_id
        self.environment = environment  # of its process, like the GPUs that it sees: for life
        self.devices = devices
        self.concurrency = concurrency  # tasks that it runs at a time
        self.assigned: dict[TaskId, TaskRecord] = {}
        self.leases: list[Lease] = []  # one for each group of tasks on the stack; none when idle
        self.blocked: list[BlockedRequest] = []  # innermost last
        self.calls: dict[int, int] = {}  # of targets with a limit on that, how many it was sent
        self.is_used_up = False  # it ends when it has nothing to do
        self.heard = False  # it has reported at least once
        self.heard_at = 0.0
        self.doomed = False  # it was told to end
        self.is_extra = False  # started beside as many as there may be
        self.quiet_since = 0.0  # when it reported last, or got something to do
        self.recalled = False  # asked for unstarted tasks since a task of its ended or blocked

    @property
    def has_unstarted(self) -> bool:
        """Whether a worker of functions holds more than its stack and one task that runs."""
        return len(self.assigned) > len(self.blocked) + 1

    @property
    def is_stuck(self) -> bool:
        """Whether a worker of functions can do nothing but wait: its last task is blocked."""
        return (
            bool(self.blocked)
            and not self.doomed
            and next(reversed(self.assigned)) == self.blocked[-1].task_id
        )

    def may_also_run(self, target: Target) -> bool:
        """Say whether calls of a target may run here on top of those that wait."""
        return (
            self.environment == target.environment
            and not self.devices
            and not target.needs_process_alone
            and not any(r.spec.target.needs_process_alone for r in self.assigned.values())
        )


class ActorRecord:
    """One instance, in a process of its own."""

    __slots__ = (
        "creation",
        "id",
        "in_flight",
        "in_group",
        "is_timed",
        "lost_in_a_row",
        "queues",
        "released",
        "restarts",
        "state",
        "worker_id",
    )

    def __init__(self, creation: TaskRecord) -> None:
        self.id: ActorId = creation.spec.id
        self.creation = creation
        self.state = ActorState.WAITING
        self.worker_id: WorkerId = 0
        self.released = False  # no handle is left
        self.is_timed = False  # the time that some of its calls may run is limited
        self.restarts = 0  # so far
        self.lost_in_a_row = 0  # workers, since a constructor returned
        # Calls that were not sent yet, in order for each caller. One that ended meanwhile stays
        # until it comes up; an empty queue goes.
        self.queues: dict[Caller, deque[TaskRecord]] = {}
        self.in_flight: dict[TaskId, TaskRecord] = {}
        self.in_group: dict[str, int] = {}  # how many of those, where there are groups

    @property
    def is_restarting(self) -> bool:
        """Whether it has lived before and is not there yet again."""
        return self.restarts > 0 and self.state in (ActorState.WAITING, ActorState.STARTING)

    def retries_of(self, call: TaskRecord) -> int:
        """Return how often a call may be lost with its worker and started again, -1 for any."""
        own = call.spec.target.max_task_retries
        return self.creation.spec.target.restarts.max_task_retries if own is None else own
