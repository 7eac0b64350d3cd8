"""The states of sessions, tasks and instances, and the only ways from one to the next.

An instance is a process that serves one session; Flame's listings call it an executor.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum
from typing import Final

from flame_remote._scheduling.states import InvalidTransition, advance

__all__ = [
    "INSTANCE_TRANSITIONS",
    "TASK_TRANSITIONS",
    "InstanceState",
    "InstanceStep",
    "InvalidTransition",
    "SessionState",
    "TaskState",
    "TaskStep",
    "advance",
]


class SessionState(IntEnum):
    """Open until it is closed, and then for good. The numbers are those on the wire."""

    OPEN = 0
    CLOSED = 1


class TaskState(IntEnum):
    """Where a task is. The numbers are those on the wire."""

    PENDING = 0
    RUNNING = 1
    SUCCEEDED = 2
    FAILED = 3
    CANCELLED = 4

    @property
    def ended(self) -> bool:
        """True in the three states that nothing leaves."""
        return self >= TaskState.SUCCEEDED


class TaskStep(IntEnum):
    """What happens to a task."""

    SENT = 0  # to an instance
    RETURNED = 1
    FAILED = 2  # its service said so, its instance was lost, or no instance can be started
    CANCELLED = 3  # its session was closed
    CAME_BACK = 4  # its instance was lost before the task was sent


TASK_TRANSITIONS: Final[Mapping[tuple[TaskState, TaskStep], TaskState]] = {
    (TaskState.PENDING, TaskStep.SENT): TaskState.RUNNING,
    (TaskState.PENDING, TaskStep.FAILED): TaskState.FAILED,
    (TaskState.PENDING, TaskStep.CANCELLED): TaskState.CANCELLED,
    (TaskState.RUNNING, TaskStep.RETURNED): TaskState.SUCCEEDED,
    (TaskState.RUNNING, TaskStep.FAILED): TaskState.FAILED,
    (TaskState.RUNNING, TaskStep.CAME_BACK): TaskState.PENDING,
}


class InstanceState(IntEnum):
    """Where an instance is. One that is gone is in no table any more."""

    STARTING = 0  # package installed, process started, session entered
    FREE = 1  # waits for a task
    BUSY = 2
    LEAVING = 3  # was told to end
    GONE = 4


class InstanceStep(IntEnum):
    """What happens to an instance."""

    ENTERED = 0
    SENT = 1  # a task
    RETURNED = 2  # the task
    STOPPED = 3
    ENDED = 4  # its process, or the attempt to start one


INSTANCE_TRANSITIONS: Final[Mapping[tuple[InstanceState, InstanceStep], InstanceState]] = {
    (InstanceState.STARTING, InstanceStep.ENTERED): InstanceState.FREE,
    (InstanceState.STARTING, InstanceStep.STOPPED): InstanceState.LEAVING,
    (InstanceState.STARTING, InstanceStep.ENDED): InstanceState.GONE,
    (InstanceState.FREE, InstanceStep.SENT): InstanceState.BUSY,
    (InstanceState.FREE, InstanceStep.STOPPED): InstanceState.LEAVING,
    (InstanceState.FREE, InstanceStep.ENDED): InstanceState.GONE,
    (InstanceState.BUSY, InstanceStep.RETURNED): InstanceState.FREE,
    (InstanceState.BUSY, InstanceStep.STOPPED): InstanceState.LEAVING,  # its owner is gone
    (InstanceState.BUSY, InstanceStep.ENDED): InstanceState.GONE,
    # What was under way when it was told to end.
    (InstanceState.LEAVING, InstanceStep.ENTERED): InstanceState.LEAVING,
    (InstanceState.LEAVING, InstanceStep.RETURNED): InstanceState.LEAVING,
    (InstanceState.LEAVING, InstanceStep.ENDED): InstanceState.GONE,
}
