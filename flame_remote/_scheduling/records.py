"""What the scheduler knows of each task, worker and actor. Only the scheduler changes these."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from flame_remote._ids import ActorId, ObjectId, TaskId, WorkerId
from flame_remote._spec import Demand, TaskSpec

from .states import ActorState, TaskState


class TaskRecord:
    """One call that has not ended. Small: a hundred thousand may be pending."""

    __slots__ = (
        "attempts",
        "cancelling",
        "dependents",
        "depth",
        "missing",
        "spec",
        "state",
        "worker_id",
    )

    def __init__(self, spec: TaskSpec) -> None:
        self.spec = spec
        self.state = TaskState.PENDING
        self.missing = 0  # arguments that have not arrived
        self.attempts = 0  # times it was running when its worker was lost
        self.depth = 0  # how many tasks it is nested in; deeper ones run first
        self.cancelling = False
        self.worker_id: WorkerId = 0
        self.dependents: list[TaskRecord] | None = None


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
        self.candidates = deque(object_ids)  # tasks that this worker might run itself meanwhile


class WorkerRecord:
    """One process. `assigned` are the tasks sent to it, in order, that have not ended."""

    __slots__ = (
        "actor_id",
        "assigned",
        "blocked",
        "heard",
        "id",
        "last_heard",
        "lease",
        "lent",
        "recalled",
    )

    def __init__(self, worker_id: WorkerId, actor_id: ActorId) -> None:
        self.id = worker_id
        self.actor_id = actor_id
        self.assigned: dict[TaskId, TaskRecord] = {}
        self.lease: Demand | None = None  # resources it holds, None when idle
        self.lent = False  # blocked: its CPUs are lent to others
        self.blocked: list[BlockedRequest] = []  # innermost last
        self.heard = False  # it has reported at least once
        self.last_heard = 0.0
        self.recalled = False  # asked for unstarted tasks since it was last heard


class ActorRecord:
    """One instance, in a process of its own."""

    __slots__ = ("creation", "id", "in_flight", "queues", "released", "state", "worker_id")

    def __init__(self, creation: TaskRecord) -> None:
        self.id: ActorId = creation.spec.id
        self.creation = creation
        self.state = ActorState.WAITING
        self.worker_id: WorkerId = 0
        self.released = False  # no handle is left
        # Calls that were not sent yet, in order for each calling process (by origin).
        self.queues: dict[int, deque[TaskRecord]] = {}
        self.in_flight: dict[TaskId, TaskRecord] = {}
