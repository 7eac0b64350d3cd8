"""A task of a session, as a client sees it."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import IntEnum
from typing import TYPE_CHECKING

from flame_remote.exceptions import ClusterError, FlameErrorCode

from .events import Event, events_from_proto, last_message
from .times import from_milliseconds

if TYPE_CHECKING:
    from flame_remote._proto import types_pb2

    from .connection import Connection


class TaskState(IntEnum):
    """What has become of a task. The last three are final."""

    PENDING = 0
    RUNNING = 1
    SUCCEED = 2
    FAILED = 3
    CANCELLED = 4  # its session was closed before it ran


@dataclass(frozen=True, slots=True)
class Task:
    """A task at one moment. `events` are there if it came from `get_task`, or has failed."""

    id: str
    session_id: str
    state: TaskState
    creation_time: datetime
    input: bytes | None = field(default=None, repr=False)
    output: bytes | None = field(default=None, repr=False)
    completion_time: datetime | None = None
    events: tuple[Event, ...] = ()

    @classmethod
    def from_proto(cls, message: types_pb2.Task, session_id: str) -> Task:
        """Take a task from Flame's message."""
        spec, status = message.spec, message.status
        return cls(
            id=message.metadata.id,
            session_id=session_id,
            state=TaskState(status.state),
            creation_time=from_milliseconds(status.creation_time),
            input=spec.input if spec.HasField("input") else None,
            output=spec.output if spec.HasField("output") else None,
            completion_time=(
                from_milliseconds(status.completion_time)
                if status.HasField("completion_time")
                else None
            ),
            events=events_from_proto(status.events),
        )

    def is_completed(self) -> bool:
        """Say whether the task has ended, in whichever way."""
        return self.state >= TaskState.SUCCEED

    def is_failed(self) -> bool:
        """Say whether the task has failed."""
        return self.state is TaskState.FAILED

    def is_cancelled(self) -> bool:
        """Say whether the task was cancelled before it ran."""
        return self.state is TaskState.CANCELLED

    def failure(self) -> str | None:
        """Return what the cluster says about why the task failed, None if it says nothing."""
        return last_message(self.events, TaskState.FAILED)

    def result(self) -> bytes | None:
        """Return the output of a task that has succeeded.

        Raises:
            ClusterError: INTERNAL if the task failed, with what the cluster says about it;
                INVALID_STATE if it was cancelled or has not ended.
        """
        name = f"task {self.id} of session {self.session_id!r}"
        match self.state:
            case TaskState.SUCCEED:
                return self.output
            case TaskState.FAILED:
                reason = self.failure() or "the cluster does not say why"
                raise ClusterError(f"{name} failed: {reason}", FlameErrorCode.INTERNAL)
            case TaskState.CANCELLED:
                raise ClusterError(
                    f"{name} was cancelled: the session was closed before the task ran",
                    FlameErrorCode.INVALID_STATE,
                )
            case _:
                raise ClusterError(f"{name} has not ended", FlameErrorCode.INVALID_STATE)


async def get_task(
    connection: Connection, session_id: str, task_id: str, timeout: float | None = None
) -> Task:
    """Ask for a task, with its events; on any loop.

    Raises:
        ClusterError: NOT_FOUND if the task, or its session, is not there.
    """
    from flame_remote._proto import frontend_pb2

    request = frontend_pb2.GetTaskRequest(session_id=session_id, task_id=task_id)
    try:
        answer = await connection.acall("GetTask", request, timeout=timeout)
    except ClusterError as error:
        if error.code is not FlameErrorCode.NOT_FOUND:
            raise
        raise ClusterError(
            f"task {task_id} of session {session_id!r} is not in the cluster: the session was "
            f"deleted, or its application unregistered, or it was never there ({error})",
            FlameErrorCode.NOT_FOUND,
        ) from None
    return Task.from_proto(answer, session_id)
