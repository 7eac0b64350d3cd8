"""What the scheduler wants done, in this order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from flame_remote._environment import Environment
from flame_remote._ids import ActorId, TaskId, WorkerId
from flame_remote._spec import TaskSpec

from .records import TaskRecord
from .states import STOPPED as STOPPED
from .states import Ending as Ending


@dataclass(slots=True)
class StartWorker:
    """Start a process. It may be sent tasks at once; they wait in its channel. `actor_id` is 0 for
    a worker of functions, else the one instance that will live there. `devices` are the GPUs that
    it is to see, by number; without any it sees those of the main program."""

    worker_id: WorkerId
    actor_id: ActorId
    environment: Environment | None = None
    devices: tuple[int, ...] = ()


@dataclass(slots=True)
class StopWorker:
    """Let an idle worker end by itself."""

    worker_id: WorkerId


@dataclass(slots=True)
class KillWorker:
    """End a worker at once; WorkerLost follows."""

    worker_id: WorkerId


@dataclass(slots=True)
class SendTasks:
    """Send tasks to a worker, to be run in this order.

    With `helps` they are for a worker that is blocked, to be run on top of what waits for them.
    """

    worker_id: WorkerId
    records: Sequence[TaskRecord]
    helps: bool = False


@dataclass(slots=True)
class RecallTasks:
    """Ask a worker for finished results and for all tasks that it has not started."""

    worker_id: WorkerId


@dataclass(slots=True)
class InterruptTask:
    """Ask a worker to drop a task that it has not started, or to interrupt it if it runs."""

    worker_id: WorkerId
    task_id: TaskId


@dataclass(slots=True)
class EndTask:
    """A task has ended without a result; what a worker may have reported for it does not count.

    `worker_id` is the worker it was on, 0 if none; `attempts` how often it was started.
    """

    task_id: TaskId
    ending: Ending
    because: TaskId = 0
    worker_id: WorkerId = 0
    attempts: int = 0
    deadline_of: TaskSpec | None = None  # the call whose deadline it was


@dataclass(slots=True)
class RestartActor:
    """An actor whose worker was lost is to be constructed again; if its constructor had returned,
    what that takes is needed once more. `restarts` counts this time."""

    actor_id: ActorId
    restarts: int


@dataclass(slots=True)
class EndActor:
    """An actor is dead for good."""

    actor_id: ActorId


@dataclass(slots=True)
class ReportDeadlock:
    """Tell a blocked request that it can never be met; `cycle` are the names of the tasks in it."""

    worker_id: WorkerId
    request_id: int
    cycle: tuple[str, ...]


Command = (
    StartWorker
    | StopWorker
    | KillWorker
    | SendTasks
    | RecallTasks
    | InterruptTask
    | EndTask
    | RestartActor
    | EndActor
    | ReportDeadlock
)
