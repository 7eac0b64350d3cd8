"""What the scheduler is told."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from flame_remote._ids import ActorId, ObjectId, TaskId, WorkerId

from .records import TaskRecord


@dataclass(slots=True)
class TasksSubmitted:
    """Calls, in the order in which they were made."""

    records: Sequence[TaskRecord]


@dataclass(slots=True)
class TasksEnded:
    """Results from one worker. `endings` pairs each task with whether it succeeded.

    `again` are those of which an attempt has failed that is not the last: after how many seconds
    the next may begin, and what is to be said of this one. `seconds` says per target how many calls
    took how long, as the worker measured it.
    """

    worker_id: WorkerId
    endings: Sequence[tuple[TaskId, bool]]
    seconds: Mapping[int, tuple[int, float]]
    again: Sequence[tuple[TaskId, float, str]] = ()


@dataclass(slots=True)
class TasksReturned:
    """A worker gave back tasks that it has not started and never will."""

    worker_id: WorkerId
    task_ids: Sequence[TaskId]


@dataclass(slots=True)
class TaskBlocked:
    """A task waits, in the main thread of its worker, for objects.

    `patient` means without time limit and for all of them, so that it may be part of a deadlock.
    `returned` are the tasks that its worker had not started and gives back.
    """

    worker_id: WorkerId
    request_id: int
    task_id: TaskId
    object_ids: Sequence[ObjectId]
    patient: bool
    returned: Sequence[TaskId] = ()


@dataclass(slots=True)
class TaskUnblocked:
    """What a blocked task waited for has come, or its time is over."""

    worker_id: WorkerId
    request_id: int


@dataclass(slots=True)
class CancelRequested:
    """Somebody no longer wants a task. `running` says whether it is known to have started."""

    task_id: TaskId
    force: bool
    running: bool


@dataclass(slots=True)
class ActorReleased:
    """The last handle of an actor is gone."""

    actor_id: ActorId


@dataclass(slots=True)
class ActorKilled:
    """An actor must end now, whatever it is doing; with `may_restart` only its process must."""

    actor_id: ActorId
    may_restart: bool = False


@dataclass(slots=True)
class ActorExited:
    """An actor has decided to end, and starts no call any more."""

    actor_id: ActorId


@dataclass(slots=True)
class WorkerHeard:
    """A worker has reported for the first time: it can be started, then."""

    worker_id: WorkerId


@dataclass(slots=True)
class WorkerLost:
    """A worker's process has ended, and everything it had sent has been taken in.

    `last_started` is the task that it started last, 0 if none.
    """

    worker_id: WorkerId
    last_started: TaskId


@dataclass(slots=True)
class MemoryExceeded:
    """A task has taken more memory than it may; 0 if it is an actor that has been constructed."""

    worker_id: WorkerId
    task_id: TaskId


@dataclass(slots=True)
class Tick:
    """Time has passed; sent at or after `Scheduler.next_tick`."""


Event = (
    TasksSubmitted
    | TasksEnded
    | TasksReturned
    | TaskBlocked
    | TaskUnblocked
    | CancelRequested
    | ActorReleased
    | ActorKilled
    | ActorExited
    | WorkerHeard
    | WorkerLost
    | MemoryExceeded
    | Tick
)
