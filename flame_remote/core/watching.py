"""Waiting for tasks to end: one watcher for all tasks of a connection, and no thread per task."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import TYPE_CHECKING, Final

from flame_remote.exceptions import ClusterError, ConnectError

from .session_waits import SessionWaits, Wait
from .tasks import Task, get_task

if TYPE_CHECKING:
    from .connection import Connection

_MOST_BROKEN_STREAMS: Final = 10  # in a row, of a server that answers otherwise
_FIRST_PAUSE_SECONDS: Final = 0.02  # before a stream that ended early is opened again; doubled...
_LONGEST_PAUSE_SECONDS: Final = 1.0  # ...up to this


class TaskWatcher:
    """Waits for the end of any number of tasks. Belongs to the loop of its connection.

    The stream of a task tells when its state changes. That is not enough: it may end early or
    break, it does not say why a task failed, and it is silent when the cluster has given up on the
    session. So GetTask is asked whenever a stream has said less than all, and `SessionWaits` looks
    at sessions whose tasks do not start.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._sessions: dict[str, SessionWaits] = {}

    async def end_of(self, session_id: str, task_id: str) -> Task:
        """Return the task when it has ended; see `Connection.watch` for what is raised."""
        wait = Wait(task_id)
        waits = self._sessions.get(session_id)
        if waits is None:
            waits = self._sessions[session_id] = SessionWaits(self._connection, session_id)
        waits.add(wait)
        following = asyncio.create_task(self._follow(session_id, wait))
        try:
            return await wait.end
        finally:
            following.cancel()
            wait.end.cancel()
            waits.remove(wait)
            if not waits and self._sessions.get(session_id) is waits:
                del self._sessions[session_id]

    async def updates(self, session_id: str, task_id: str) -> AsyncGenerator[Task, None]:
        """Yield the task each time its state is seen to have changed, the last time as it ended."""
        from flame_remote._proto import frontend_pb2

        request = frontend_pb2.WatchTaskRequest(session_id=session_id, task_id=task_id)
        seen: Task | None = None
        pause = _FIRST_PAUSE_SECONDS
        broken = 0
        while True:
            try:
                async with aclosing(self._connection.stream("WatchTask", request)) as messages:
                    async for message in messages:
                        broken = 0
                        task = Task.from_proto(message, session_id)
                        if task.is_failed() and task.failure() is None:
                            break  # GetTask knows why
                        yield task
                        if task.is_completed():
                            return
                        seen = task
            except ConnectError:
                await self._connection.reconnected()
            except ClusterError:
                broken += 1
                if broken > _MOST_BROKEN_STREAMS:
                    raise
            task = await get_task(self._connection, session_id, task_id)
            if seen is None or task.state is not seen.state:
                yield task
                seen = task
                pause = _FIRST_PAUSE_SECONDS
            if task.is_completed():
                return
            await asyncio.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)

    async def _follow(self, session_id: str, wait: Wait) -> None:
        """Tell the wait all that the task's stream says."""
        try:
            async with aclosing(self.updates(session_id, wait.task_id)) as tasks:
                async for task in tasks:
                    wait.tell(task)
        except Exception as error:  # whatever it is, somebody waits
            wait.fail(error)
