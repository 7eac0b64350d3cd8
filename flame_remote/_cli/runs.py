"""Many equal tasks in a session of their own, as flmping and flmexec run them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

import click

from flame_remote._proto import frontend_pb2, types_pb2
from flame_remote.core.tasks import Task, TaskState
from flame_remote.exceptions import ClusterError, ClusterTimeoutError, FlameErrorCode

from .cluster import Cluster

AT_ONCE: Final = 1000  # tasks that are created and not ended


@dataclass(frozen=True)
class Run:
    """What became of a number of tasks, in the order of their numbers."""

    tasks: list[Task]
    seconds: float

    @property
    def succeeded(self) -> int:
        """How many tasks did."""
        return sum(task.state is TaskState.SUCCEED for task in self.tasks)


@contextmanager
def session_of(
    cluster: Cluster, application: str, **attributes: Any
) -> Iterator[tuple[types_pb2.Session, float]]:
    """Create a session; close it at the end, unless a task still runs then: that is told.

    Args:
        cluster: where.
        application: its application.
        attributes: for `Cluster.create_session`.

    Yields:
        The session, and the seconds that its creation took.

    Raises:
        UserError, ClusterError: it cannot be created, see `Cluster.create_session`.
    """
    began = time.monotonic()
    session = cluster.create_session(application, **attributes)
    try:
        yield session, time.monotonic() - began
    finally:
        _close(cluster, session.metadata.id)


def _close(cluster: Cluster, session_id: str) -> None:
    """Close a session; say so if tasks keep it open. Where the cluster is lost, that is told."""
    try:
        cluster.call("CloseSession", frontend_pb2.CloseSessionRequest(session_id=session_id))
    except ClusterError as error:
        if error.code is FlameErrorCode.INVALID_STATE:
            click.echo(
                f"session {session_id} stays open, as tasks run; when they have ended, "
                f"`flmctl close -s {session_id}` closes it",
                err=True,
            )


def run_tasks(cluster: Cluster, session_id: str, payload: bytes, count: int, seconds: float) -> Run:
    """Run equal tasks; return when all have ended.

    Args:
        cluster: where.
        session_id: of their session.
        payload: the input of each.
        count: how many.
        seconds: how long it may take.

    Raises:
        ClusterTimeoutError: not all have ended in time.
        WorkerStartError: the session can start no instance.
        ClusterError: the cluster refused, or was lost.
    """
    connection = cluster.connection
    request = frontend_pb2.CreateTaskRequest(
        task=types_pb2.TaskSpec(session_id=session_id, input=payload)
    )
    ended = 0

    async def run_all() -> list[Task]:
        slots = asyncio.Semaphore(AT_ONCE)

        async def run_one() -> Task:
            nonlocal ended
            async with slots:
                created: types_pb2.Task = await connection.acall("CreateTask", request)
                task = await connection.awatch(session_id, created.metadata.id)
                ended += 1
                return task

        return list(await asyncio.gather(*(run_one() for _ in range(count))))

    began = time.monotonic()
    try:
        tasks = connection.wait_for(run_all(), seconds)
    except ClusterTimeoutError:
        raise ClusterTimeoutError(
            f"{count - ended} of {count} tasks of session {session_id} have not ended after "
            f"{seconds:g} s; --wait gives them longer"
        ) from None
    return Run(sorted(tasks, key=lambda task: int(task.id)), time.monotonic() - began)


def reason_of(task: Task) -> str:
    """Return why a task has not succeeded."""
    return task.failure() or "the cluster does not say why"


def state_of(task: Task) -> str:
    """Return the state of a task, in Flame's word."""
    return task.state.name.capitalize()
