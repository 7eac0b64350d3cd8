"""What the scheduler is told. Requests of clients first, then what happened to instances.

Every request is answered by exactly one `Answer` or `Refuse` among the commands it returns.
"""

from __future__ import annotations

from dataclasses import dataclass

from flame_remote._proto import types_pb2


@dataclass(slots=True)
class RegisterApplication:
    """`owner` is the process that the application ends with, "" for none."""

    name: str
    spec: types_pb2.ApplicationSpec
    owner: str = ""


@dataclass(slots=True)
class UpdateApplication:
    """Replaces the spec."""

    name: str
    spec: types_pb2.ApplicationSpec


@dataclass(slots=True)
class UnregisterApplication:
    """Its sessions go with it."""

    name: str


@dataclass(slots=True)
class CreateSession:
    """The client has chosen the id."""

    session_id: str
    spec: types_pb2.SessionSpec


@dataclass(slots=True)
class OpenSession:
    """Create it, or take the one that exists if its spec is the same (None: whatever it is)."""

    session_id: str
    spec: types_pb2.SessionSpec | None


@dataclass(slots=True)
class CloseSession:
    """Pending tasks are cancelled; refused while a task runs."""

    session_id: str


@dataclass(slots=True)
class DeleteSession:
    """Forget a closed session."""

    session_id: str


@dataclass(slots=True)
class CreateTask:
    """One more call."""

    session_id: str
    input: bytes | None


Request = (
    RegisterApplication
    | UpdateApplication
    | UnregisterApplication
    | CreateSession
    | OpenSession
    | CloseSession
    | DeleteSession
    | CreateTask
)


@dataclass(slots=True)
class InstanceEntered:
    """The process runs and has accepted the session."""

    instance_id: str


@dataclass(slots=True)
class InstanceFailed:
    """It could not be started; nothing of it is left. `code` is Flame's: 10, 11, 12 or 19."""

    instance_id: str
    code: int
    detail: str


@dataclass(slots=True)
class TaskReturned:
    """The instance has answered. `return_code` 0 is success; else `message` says what was wrong."""

    instance_id: str
    return_code: int
    output: bytes | None
    message: str


@dataclass(slots=True)
class InstanceLost:
    """The process of a free or busy instance ended without being asked.

    `task_sent`: the task that the instance had, if any, may have begun.
    """

    instance_id: str
    reason: str
    task_sent: bool


@dataclass(slots=True)
class InstanceGone:
    """The process of an instance that was told to end has ended."""

    instance_id: str


@dataclass(slots=True)
class OwnerGone:
    """The process that an application should end with has ended."""

    name: str
    owner: str


@dataclass(slots=True)
class TimePassed:
    """The moment of the last WakeAt has come."""


Event = (
    Request
    | InstanceEntered
    | InstanceFailed
    | TaskReturned
    | InstanceLost
    | InstanceGone
    | OwnerGone
    | TimePassed
)
