"""Records as Flame's messages."""

from __future__ import annotations

from typing import Final, cast

from flame_remote._proto import types_pb2

from .records import Application, Instance, Session, Task
from .states import InstanceState, TaskState

_EXECUTOR_STATES: Final = {
    InstanceState.STARTING: types_pb2.ExecutorBinding,
    InstanceState.FREE: types_pb2.ExecutorBound,
    InstanceState.BUSY: types_pb2.ExecutorBound,
    InstanceState.LEAVING: types_pb2.ExecutorUnbinding,
    InstanceState.GONE: types_pb2.ExecutorReleased,
}
_ENDINGS: Final = {
    TaskState.SUCCEEDED: "Task was completed with state <Succeed>",
    TaskState.CANCELLED: "Task was cancelled, its session was closed",
}


def milliseconds(seconds: float) -> int:
    """Return a time in the unit of the messages."""
    return int(seconds * 1000)


def application_message(application: Application) -> types_pb2.Application:
    """Return an application as it is listed."""
    return types_pb2.Application(
        metadata=_metadata(application.name),
        spec=application.spec,
        status=types_pb2.ApplicationStatus(
            state=types_pb2.Enabled, creation_time=milliseconds(application.created)
        ),
    )


def session_message(session: Session) -> types_pb2.Session:
    """Return a session with its counts and events."""
    pending, running, succeeded, failed, cancelled = session.counts
    status = types_pb2.SessionStatus(
        state=cast(types_pb2.SessionState, session.state),
        creation_time=milliseconds(session.created),
        pending=pending,
        running=running,
        succeed=succeeded,
        failed=failed,
        cancelled=cancelled,
        events=[
            types_pb2.Event(code=e.code, message=e.message, creation_time=milliseconds(e.time))
            for e in session.events
        ],
    )
    if session.ended:
        status.completion_time = milliseconds(session.ended)
    return types_pb2.Session(metadata=_metadata(session.id), spec=session.spec, status=status)


def task_message(
    task: Task, payload: tuple[bytes | None, bytes | None], state: TaskState | None = None
) -> types_pb2.Task:
    """Return a task with its events; `payload` is its input and output.

    `state` replaces the task's: the answer to CreateTask says Pending though the task may have
    been sent to an instance since.
    """
    task_id = str(task.number)
    spec = types_pb2.TaskSpec(session_id=task.session_id, input=payload[0], output=payload[1])
    status = types_pb2.TaskStatus(
        state=cast(types_pb2.TaskState, task.state if state is None else state),
        creation_time=milliseconds(task.created),
        events=_task_events(task),
    )
    if task.state.ended:
        status.completion_time = milliseconds(task.ended)
    return types_pb2.Task(metadata=_metadata(task_id), spec=spec, status=status)


def _task_events(task: Task) -> list[types_pb2.Event]:
    events = [_event(TaskState.PENDING, "Task was created with state <Pending>", task.created)]
    if task.started:
        message = "Task state was updated to <Running>"
        events.append(_event(TaskState.RUNNING, message, task.started))
    if task.state.ended:
        events.append(_event(task.state, task.message or _ENDINGS.get(task.state, ""), task.ended))
    return events


def _event(code: int, message: str, time: float) -> types_pb2.Event:
    return types_pb2.Event(code=code, message=message, creation_time=milliseconds(time))


def executor_message(instance: Instance, session: Session | None, node: str) -> types_pb2.Executor:
    """Return an instance as Flame lists executors."""
    resources = session.spec.resreq if session else types_pb2.ResourceRequirement()
    return types_pb2.Executor(
        metadata=_metadata(instance.id),
        spec=types_pb2.ExecutorSpec(node=node, resreq=resources, shim=types_pb2.Host),
        status=types_pb2.ExecutorStatus(
            state=_EXECUTOR_STATES[instance.state], session_id=instance.session_id
        ),
    )


def _metadata(name: str) -> types_pb2.Metadata:
    return types_pb2.Metadata(id=name, name=name)
