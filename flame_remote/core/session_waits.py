"""The tasks of one session that are waited for, and a look at the session when they do not start.

A session whose instances cannot be started stays open, and its tasks pending, for ever: the cluster
notes events in the session, which only GetSession tells, and says nothing on the tasks' streams.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from flame_remote.exceptions import ClusterError, FlameErrorCode, WorkerStartError

from .events import BIND_FAILED, NO_MORE_ATTEMPTS, events_from_proto, last_message
from .tasks import Task, TaskState, get_task

if TYPE_CHECKING:
    from flame_remote._proto import types_pb2

    from .connection import Connection

FIRST_LOOK_SECONDS: Final = 1.0  # most tasks have started by then, and cost no look
LONGEST_PAUSE_SECONDS: Final = 10.0  # between looks, which carry the session's common data
SECOND_LOOK_SECONDS: Final = 0.5  # to be sure that an instance is not just between two tasks
_LOOK_TIMEOUT_SECONDS: Final = 10.0


class Wait:
    """A wait for the end of one task. Belongs to the loop in which it was made."""

    def __init__(self, task_id: str) -> None:
        loop = asyncio.get_running_loop()
        self.task_id = task_id
        self.end: asyncio.Future[Task] = loop.create_future()
        self.since = loop.time()
        self.may_be_pending = True  # until the task is seen to run

    def tell(self, task: Task) -> None:
        """Take in the task as it is now."""
        self.may_be_pending = task.state is TaskState.PENDING
        if task.is_completed() and not self.end.done():
            self.end.set_result(task)

    def fail(self, error: Exception) -> None:
        """End the wait with an error, unless it has ended."""
        if not self.end.done():
            self.end.set_exception(error)


class SessionWaits:
    """The waits for tasks of one session. Belongs to the loop of its connection."""

    def __init__(self, connection: Connection, session_id: str) -> None:
        self._connection = connection
        self._session_id = session_id
        self._waits: set[Wait] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._pause = FIRST_LOOK_SECONDS
        self._trouble: tuple[str, int] | None = None  # seen at the last look: reason, tasks ended

    def __bool__(self) -> bool:
        return bool(self._waits)

    def add(self, wait: Wait) -> None:
        """Begin to care for a wait."""
        self._waits.add(wait)
        if self._timer is None:
            self._look_in(FIRST_LOOK_SECONDS)

    def remove(self, wait: Wait) -> None:
        """Forget a wait; with the last one the looks end."""
        self._waits.discard(wait)
        if not self._waits and self._timer is not None:
            self._timer.cancel()

    def _look_in(self, seconds: float) -> None:
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(seconds, self._look_if_needed)

    def _look_if_needed(self) -> None:
        """Look at the session if a task has been pending for long."""
        started_by = asyncio.get_running_loop().time() - 0.9 * FIRST_LOOK_SECONDS
        if any(wait.may_be_pending and wait.since <= started_by for wait in self._waits):
            self._connection.keep(self._look())
        elif self._waits:
            self._look_in(FIRST_LOOK_SECONDS)

    async def _look(self) -> None:
        """Look at the session; end the waits that it makes hopeless."""
        from flame_remote._proto import frontend_pb2

        request = frontend_pb2.GetSessionRequest(session_id=self._session_id)
        try:
            session = await self._connection.acall(
                "GetSession", request, timeout=_LOOK_TIMEOUT_SECONDS
            )
        except ClusterError as error:
            if error.code is FlameErrorCode.NOT_FOUND:
                await self._check_all()
            self._look_again()  # whatever else it was: the streams meet it too
            return
        trouble = _trouble_of(session)
        if trouble is not None and trouble == self._trouble:
            await self._check_all(hopeless=trouble[0])
        elif session.status.state != 0:  # closed: nothing starts any more
            await self._check_all()
        self._trouble = trouble
        self._look_again()

    def _look_again(self) -> None:
        if not self._waits:
            return
        if self._trouble is not None:
            self._look_in(SECOND_LOOK_SECONDS)
            return
        self._pause = min(2 * self._pause, LONGEST_PAUSE_SECONDS)
        self._look_in(self._pause)

    async def _check_all(self, hopeless: str | None = None) -> None:
        """Ask for each task, whose end may be on its way; fail the waits of those gone.

        If a reason is given, those that are pending will not start, and their waits fail too.
        """
        for wait in list(self._waits):
            try:
                task = await get_task(self._connection, self._session_id, wait.task_id)
            except ClusterError as error:
                if error.code is FlameErrorCode.NOT_FOUND:
                    wait.fail(error)
                continue  # else the cluster is away for now, which is no news of the task
            wait.tell(task)
            if hopeless is not None and task.state is TaskState.PENDING:
                wait.fail(WorkerStartError(hopeless))


def _trouble_of(session: types_pb2.Session) -> tuple[str, int] | None:
    """Return why a session can start no instance, with how many of its tasks have ended.

    None if it can, or an instance of it runs, which will take what is pending.
    """
    status = session.status
    events = events_from_proto(status.events)
    given_up = last_message(events, NO_MORE_ATTEMPTS)
    if given_up is None or status.running or not status.pending:
        return None
    reason = last_message(events, BIND_FAILED)
    text = f"session {session.metadata.id!r} of application {session.spec.application!r}: "
    text += f"{reason} ({given_up})" if reason else given_up
    return text, status.succeed + status.failed
