"""Streams of tasks, as iterators for threads that may block."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from flame_remote._deadline import Deadline
from flame_remote.exceptions import ClusterTimeoutError

from .tasks import Task

if TYPE_CHECKING:
    from .connection import Connection

_TASKS_AT_A_TIME: Final = 100  # that are taken over from the connection's thread together
_SECONDS: Final = 60.0  # to wait for some of them


class TaskUpdates(Iterator[Task]):
    """A task each time its state has changed. Belongs to one thread at a time."""

    def __init__(
        self, connection: Connection, session_id: str, task_id: str, timeout: float | None
    ) -> None:
        self._connection = connection
        self._name = f"the end of task {task_id} of session {session_id!r}"
        self._deadline = Deadline(timeout)
        self._updates = connection.updates(session_id, task_id)

    def __next__(self) -> Task:
        if self._deadline.expired():
            raise ClusterTimeoutError(
                f"{self._name} did not come within {self._deadline.seconds:g} s"
            )
        task = self._connection.wait_for(self._next(), self._deadline.remaining(), self._name)
        if task is None:
            raise StopIteration
        return task

    async def _next(self) -> Task | None:
        return await anext(self._updates, None)


class TaskList(Iterator[Task]):
    """All tasks of a session, as they come. Belongs to one thread at a time."""

    def __init__(self, connection: Connection, session_id: str, timeout: float | None) -> None:
        from flame_remote._proto import frontend_pb2

        self._connection = connection
        self._session_id = session_id
        self._timeout = _SECONDS if timeout is None else timeout
        self._messages = connection.stream(
            "ListTask", frontend_pb2.ListTaskRequest(session_id=session_id)
        )
        self._tasks: Iterator[Task] = iter(())

    def __next__(self) -> Task:
        for task in self._tasks:
            return task
        more = self._connection.wait_for(
            self._more(), self._timeout, f"the tasks of session {self._session_id!r}"
        )
        self._tasks = iter(more)
        return next(self._tasks)

    async def _more(self) -> list[Task]:
        """Return the next tasks, none at the end."""
        tasks: list[Task] = []
        while len(tasks) < _TASKS_AT_A_TIME:
            message = await anext(self._messages, None)
            if message is None:
                break
            tasks.append(Task.from_proto(message, self._session_id))
        return tasks
