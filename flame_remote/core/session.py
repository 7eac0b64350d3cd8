"""A session of an application: where tasks are put, and their results come from."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from concurrent.futures import Future
from dataclasses import dataclass, field
from datetime import datetime
from enum import IntEnum
from typing import TYPE_CHECKING

from flame_remote.exceptions import ClusterError, FlameErrorCode

from .connection import Connection
from .events import Event, events_from_proto
from .resources import ResourceRequirement
from .statuses import MESSAGE_LIMIT_BYTES, too_large
from .task_streams import TaskList, TaskUpdates
from .tasks import Task, get_task
from .times import from_milliseconds

if TYPE_CHECKING:
    from google.protobuf.message import Message

    from flame_remote._proto import frontend_pb2, types_pb2


class SessionState(IntEnum):
    """Whether a session takes tasks."""

    OPEN = 0
    CLOSED = 1


@dataclass(frozen=True, slots=True)
class SessionAttributes:
    """What a session is created with.

    `common_data` is given to each instance before its first task. Between `min_instances` and
    `max_instances` (None for no limit) instances are kept. `resreq` is what each of them takes,
    None for what the cluster gives by itself. Sessions of a higher `priority` are served first.
    """

    application: str
    id: str | None = None
    common_data: bytes | None = None
    min_instances: int = 0
    max_instances: int | None = None
    batch_size: int = 1
    resreq: ResourceRequirement | None = None
    priority: int = 0

    def to_proto(self) -> types_pb2.SessionSpec:
        """Return Flame's message; raise ClusterError if the common data is no bytes."""
        from flame_remote._proto import types_pb2

        return types_pb2.SessionSpec(
            application=self.application,
            common_data=_bytes_or_none("common_data", self.common_data),
            min_instances=self.min_instances,
            max_instances=self.max_instances,
            batch_size=self.batch_size,
            priority=self.priority,
            resreq=self.resreq.to_proto() if self.resreq is not None else None,
        )


@dataclass(frozen=True, slots=True)
class Session:
    """A session as it was when it was asked for. Safe to use from any thread.

    `pending`, `running`, `succeed`, `failed` and `cancelled` count its tasks in these states.
    """

    id: str
    application: str
    state: SessionState
    creation_time: datetime
    pending: int
    running: int
    succeed: int
    failed: int
    cancelled: int
    completion_time: datetime | None
    min_instances: int
    max_instances: int | None
    batch_size: int
    priority: int
    resreq: ResourceRequirement | None
    events: tuple[Event, ...]
    connection: Connection = field(repr=False, compare=False)
    _common_data: bytes | None = field(repr=False)
    # Held while a task is created, where their order matters.
    _turn: asyncio.Lock = field(default_factory=asyncio.Lock, repr=False, compare=False)

    @classmethod
    def from_proto(cls, message: types_pb2.Session, connection: Connection) -> Session:
        """Take a session from Flame's message."""
        spec, status = message.spec, message.status
        completed = status.HasField("completion_time")
        return cls(
            id=message.metadata.id,
            application=spec.application,
            state=SessionState(status.state),
            creation_time=from_milliseconds(status.creation_time),
            pending=status.pending,
            running=status.running,
            succeed=status.succeed,
            failed=status.failed,
            cancelled=status.cancelled,
            completion_time=from_milliseconds(status.completion_time) if completed else None,
            min_instances=spec.min_instances,
            max_instances=spec.max_instances if spec.HasField("max_instances") else None,
            batch_size=spec.batch_size,
            priority=spec.priority,
            resreq=(
                ResourceRequirement.from_proto(spec.resreq) if spec.HasField("resreq") else None
            ),
            events=events_from_proto(status.events),
            connection=connection,
            _common_data=spec.common_data if spec.HasField("common_data") else None,
        )

    def common_data(self) -> bytes | None:
        """Return what each instance of the session is given before its first task."""
        return self._common_data

    # --- results ----------------------------------------------------------------------------------

    def run(self, input: bytes | None) -> Future[bytes | None]:
        """Start a task and return at once. Never blocks.

        Where the session has one instance, tasks start in the order in which they were run from one
        thread; where it has several, they are created as fast as the cluster takes them.

        Args:
            input: of the task, below 4 MiB.

        Returns:
            A future of the task's output. It fails with ClusterError if the task cannot be created,
            fails, is cancelled or vanishes, with WorkerStartError if no instance can start, with
            ConnectError if the cluster is away. Its callbacks run in the connection's thread and
            must not block. Cancelling it ends the waiting, not the task.

        Raises:
            ClusterError: INVALID_ARGUMENT; the input is no bytes, or too large.
        """
        return self.connection.spawn(self._run(self._request(input)))

    def invoke(self, input: bytes | None, timeout: float | None = None) -> bytes | None:
        """Start a task and wait for its output.

        Args:
            input: of the task, below 4 MiB.
            timeout: seconds for all of it; None for as long as it takes.

        Returns:
            The output.

        Raises:
            ClusterTimeoutError: the task has not ended in time; it goes on.
            ClusterError: and all else that the future of `run` fails with.
        """
        running = self._run(self._request(input))
        what = f"the output of a task of session {self.id!r}"
        return self.connection.wait_for(running, timeout, what)

    # --- tasks ------------------------------------------------------------------------------------

    def create_task(self, input: bytes | None, *, timeout: float | None = None) -> Task:
        """Create a task, and wait until the cluster has taken it.

        Args:
            input: of the task, below 4 MiB.
            timeout: seconds for the call; None for 60.

        Returns:
            The task, which has an id now.

        Raises:
            ClusterError: INVALID_STATE if the session is closed, NOT_FOUND if it is not there,
                INVALID_ARGUMENT if the input is no bytes or too large.
        """
        return self.connection.wait_for(self._create(self._request(input), timeout))

    async def acreate_task(self, input: bytes | None, *, timeout: float | None = None) -> Task:
        """Do what `create_task` does, without blocking; from any asyncio loop.

        Many may be under way at once. Where the session has one instance they are created one after
        the other, in the order of the calls.
        """
        return await self.connection.on_loop(self._create(self._request(input), timeout))

    def get_task(self, task_id: str, *, timeout: float | None = None) -> Task:
        """Return a task as it is now, with its events.

        Args:
            task_id: of the task.
            timeout: seconds for the call; None for 60.

        Raises:
            ClusterError: NOT_FOUND; INVALID_ARGUMENT if the id is no number.
        """
        return self.connection.wait_for(get_task(self.connection, self.id, task_id, timeout))

    def list_tasks(self, *, timeout: float | None = None) -> Iterator[Task]:
        """Yield all tasks of the session, in no particular order, as they come.

        Args:
            timeout: seconds to wait for more of them at a time; None for 60.

        Raises:
            ClusterError: NOT_FOUND if the session is not there.
        """
        return TaskList(self.connection, self.id, timeout)

    def watch_task(self, task_id: str, timeout: float | None = None) -> Iterator[Task]:
        """Yield a task each time its state has changed, until it has ended.

        A lost connection is renewed. A task that has failed comes with its events.

        Args:
            task_id: of the task.
            timeout: seconds for all of it; None for as long as it takes.

        Raises:
            ClusterTimeoutError: the task has not ended in time.
            ClusterError: NOT_FOUND if the task is not there, or not any more.
        """
        return TaskUpdates(self.connection, self.id, task_id, timeout)

    # --- the session ------------------------------------------------------------------------------

    def close(self, *, timeout: float | None = None) -> None:
        """Close the session: pending tasks are cancelled. Does nothing if it is closed.

        Args:
            timeout: seconds for the call; None for 60.

        Raises:
            ClusterError: INVALID_STATE while tasks run, NOT_FOUND if it is not there.
        """
        from flame_remote._proto import frontend_pb2

        request = frontend_pb2.CloseSessionRequest(session_id=self.id)
        self.connection.call("CloseSession", request, timeout=timeout)

    async def _run(self, request: frontend_pb2.CreateTaskRequest) -> bytes | None:
        """Create a task and return its output; on the connection's loop only."""
        task = await self._create(request, None)
        return (await self.connection.awatch(self.id, task.id)).result()

    async def _create(self, request: frontend_pb2.CreateTaskRequest, timeout: float | None) -> Task:
        """Create a task; on the connection's loop only."""
        if self.max_instances == 1:
            # A server may take in requests that are under way together in any order.
            async with self._turn:
                answer = await self.connection.acall("CreateTask", request, timeout=timeout)
        else:
            answer = await self.connection.acall("CreateTask", request, timeout=timeout)
        return Task.from_proto(answer, self.id)

    def _request(self, input: bytes | None) -> frontend_pb2.CreateTaskRequest:
        from flame_remote._proto import frontend_pb2, types_pb2

        data = _bytes_or_none("the input of a task", input)
        spec = types_pb2.TaskSpec(session_id=self.id, input=data)
        request = frontend_pb2.CreateTaskRequest(task=spec)
        check_size(request, f"create a task in session {self.id!r}", "its input")
        return request


def check_size(message: Message, doing: str, what: str) -> None:
    """Raise ClusterError (INVALID_ARGUMENT) if a message is over the limit of stock clusters."""
    size = message.ByteSize()
    if size > MESSAGE_LIMIT_BYTES:
        raise too_large(
            doing, f"{what} is {size} bytes, and a message at most {MESSAGE_LIMIT_BYTES}"
        )


def _bytes_or_none(what: str, given: object) -> bytes | None:
    if given is None or isinstance(given, bytes):
        return given
    if isinstance(given, (bytearray, memoryview)):
        return bytes(given)
    raise ClusterError(
        f"{what} must be bytes, not {type(given).__name__}; "
        "the core API leaves it to the caller how values become bytes",
        FlameErrorCode.INVALID_ARGUMENT,
    )
