"""What the session manager knows: applications, sessions, tasks, instances.

Times are seconds since the epoch. The specs are Flame's own messages, kept as they came.
"""

from __future__ import annotations

import heapq
from collections import deque
from dataclasses import dataclass, field
from typing import Final

from flame_remote._proto import types_pb2

from .states import (
    INSTANCE_TRANSITIONS,
    TASK_TRANSITIONS,
    InstanceState,
    InstanceStep,
    SessionState,
    TaskState,
    TaskStep,
    advance,
)

DEFAULT_MAX_INSTANCES: Final = 1_000_000
DEFAULT_DELAY_RELEASE: Final = 60  # seconds
BIND_FAILED: Final = 1001  # codes of a session's events
RETRIES_EXHAUSTED: Final = 1002


@dataclass(slots=True)
class Application:
    """A registered application. `owner` is the process it ends with, as the label says, or ""."""

    name: str
    spec: types_pb2.ApplicationSpec
    created: float
    owner: str = ""

    @property
    def delay_release(self) -> float:
        """Seconds that an idle instance is kept."""
        return float(self.spec.delay_release)

    @property
    def runs_here(self) -> bool:
        """False for WebAssembly, which this cluster has no executor for."""
        return self.spec.shim == types_pb2.Host


@dataclass(slots=True, frozen=True)
class SessionEvent:
    """Something that happened to a session."""

    code: int
    message: str
    time: float


@dataclass(slots=True)
class Task:
    """One call of a session; `number` is its id, counted from 1 in each session."""

    session_id: str
    number: int
    input: bytes | None
    created: float
    state: TaskState = TaskState.PENDING
    started: float = 0.0  # 0 until an instance has it
    ended: float = 0.0
    output: bytes | None = None
    message: str = ""  # why it failed
    stored: bool = False  # the store has a row of it
    archived: bool = False  # input and output are in the store only

    def advance(self, step: TaskStep) -> None:
        """Take a step of the table. Raises InvalidTransition."""
        self.state = advance(TASK_TRANSITIONS, self.state, step)


@dataclass(slots=True)
class Instance:
    """A process, or the attempt to start one, that serves one session."""

    id: str
    session_id: str
    started: float
    state: InstanceState = InstanceState.STARTING
    task: Task | None = None
    free_since: float = 0.0
    served: int = 0  # tasks that it has ended
    watched: bool = False  # the idle clock has an entry for it

    def advance(self, step: InstanceStep) -> None:
        """Take a step of the table. Raises InvalidTransition."""
        self.state = advance(INSTANCE_TRANSITIONS, self.state, step)


@dataclass(slots=True)
class Session:
    """A queue of tasks, and the instances that work on it."""

    id: str
    spec: types_pb2.SessionSpec
    created: float
    state: SessionState = SessionState.OPEN
    ended: float = 0.0
    events: list[SessionEvent] = field(default_factory=list)
    tasks: dict[int, Task] = field(default_factory=dict)
    last_number: int = 0  # of its tasks
    pending: list[int] = field(default_factory=list)  # a heap of task numbers
    ended_tasks: deque[int] = field(default_factory=deque)  # the oldest first
    counts: list[int] = field(default_factory=lambda: [0] * len(TaskState))  # tasks by state
    instances: dict[str, Instance] = field(default_factory=dict)  # all but leaving ones
    free: list[Instance] = field(default_factory=list)  # the last one was busy most recently
    failed_binds: int = 0  # since the last that worked
    exhausted: bool = False  # no more attempts than one for each new task

    def add(self, task: Task) -> None:
        """Take in a task, whatever its state."""
        self.tasks[task.number] = task
        self.last_number = max(self.last_number, task.number)
        self.counts[task.state] += 1
        if task.state.ended:
            self.ended_tasks.append(task.number)
        elif task.state is TaskState.PENDING:
            heapq.heappush(self.pending, task.number)

    def pop_pending(self) -> Task:
        """Remove and return the pending task with the lowest number."""
        return self.tasks[heapq.heappop(self.pending)]

    def requeue(self, task: Task) -> None:
        """Put a task back that had not begun."""
        self.step(task, TaskStep.CAME_BACK)
        task.started = 0.0
        heapq.heappush(self.pending, task.number)

    def step(self, task: Task, step: TaskStep) -> None:
        """Move one of its tasks on, and count it in its new state."""
        self.counts[task.state] -= 1
        task.advance(step)
        self.counts[task.state] += 1
        if task.state.ended:
            self.ended_tasks.append(task.number)

    @property
    def starting(self) -> int:
        """How many of its instances have no process yet that has entered."""
        return sum(i.state is InstanceState.STARTING for i in self.instances.values())

    @property
    def busy(self) -> int:
        """How many of its instances have a task."""
        return self.counts[TaskState.RUNNING]

    @property
    def max_instances(self) -> int:
        """How many instances it may have; unset and 0 mean that it does not matter."""
        if self.spec.HasField("max_instances") and self.spec.max_instances:
            return max(self.spec.max_instances, self.spec.min_instances)
        return DEFAULT_MAX_INSTANCES

    @property
    def wanted_instances(self) -> int:
        """How many instances it could use now, and at least its minimum.

        Tasks that do not fill a batch ask for none: they wait for the rest of it, or for an
        instance that is free.
        """
        if self.state is not SessionState.OPEN:
            return 0
        tasks = self.busy + len(self.pending)
        in_batches = tasks - tasks % max(self.spec.batch_size, 1)
        demand = max(in_batches, self.spec.min_instances)
        return min(demand, self.max_instances)
