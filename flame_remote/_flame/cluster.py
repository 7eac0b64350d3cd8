"""What an engine asks of the session manager; everything runs on the connection's loop."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

from flame_remote.core.connection import Connection
from flame_remote.exceptions import ClusterError, ClusterTimeoutError, FlameErrorCode

from .lanes import SessionPlan

if TYPE_CHECKING:
    from flame_remote.core.context import FlameContext
    from flame_remote.core.tasks import Task

_CALL_SECONDS: Final = 30.0
_ANSWER_SECONDS: Final = 5.0  # for any answer at all


class Cluster:
    """One connection to a cluster, which belongs to one engine. Coroutines are for its loop."""

    def __init__(self, context: FlameContext) -> None:
        """Start the connection's thread; nothing is sent yet."""
        self.context = context
        self.connection = Connection(context)
        self.loop = self.connection.wait_for(_running_loop())

    def call(self, method: str, request: Any, timeout: float = _CALL_SECONDS) -> Any:
        """Call the cluster and wait for the answer. Any other thread."""
        return self.connection.call(method, request, timeout=timeout)

    def check_answers(self, what: str) -> None:
        """Raise ClusterTimeoutError if nobody answers, so that `what`. Any other thread; blocks."""
        from flame_remote._proto import frontend_pb2

        try:
            self.call("ListNodes", frontend_pb2.ListNodesRequest(), _ANSWER_SECONDS)
        except ClusterTimeoutError as error:
            raise ClusterTimeoutError(f"{what}: {error}") from None

    async def acall(self, method: str, request: Any, timeout: float = _CALL_SECONDS) -> Any:
        """Call the cluster."""
        return await self.connection.acall(method, request, timeout=timeout)

    async def open_session(self, plan: SessionPlan, common: bytes) -> None:
        """Open a session, or take the one that is there."""
        from flame_remote._proto import frontend_pb2, types_pb2

        spec = types_pb2.SessionSpec(
            application=plan.application,
            common_data=common,
            min_instances=plan.min_instances,
            max_instances=plan.max_instances,
            batch_size=1,
        )
        if plan.resources is not None:
            cpu, memory, gpu = plan.resources
            spec.resreq.CopyFrom(types_pb2.ResourceRequirement(cpu=cpu, memory=memory, gpu=gpu))
        request = frontend_pb2.OpenSessionRequest(session_id=plan.session_id, session=spec)
        await self.acall("OpenSession", request)

    async def create_task(self, session_id: str, data: bytes) -> str:
        """Create a task; return its id."""
        from flame_remote._proto import frontend_pb2, types_pb2

        spec = types_pb2.TaskSpec(session_id=session_id, input=data)
        task = await self.acall("CreateTask", frontend_pb2.CreateTaskRequest(task=spec))
        return str(task.metadata.id)

    async def end_of(self, session_id: str, task_id: str) -> Task:
        """Wait for the end of a task."""
        return await self.connection.awatch(session_id, task_id)

    async def pending(self, session_id: str) -> int:
        """Return how many tasks of a session wait for an instance."""
        from flame_remote._proto import frontend_pb2

        request = frontend_pb2.GetSessionRequest(session_id=session_id)
        session = await self.acall("GetSession", request)
        return int(session.status.pending)

    async def close_session(self, session_id: str) -> bool:
        """Close a session; False if the cluster does not want to yet: a task runs there."""
        from flame_remote._proto import frontend_pb2

        request = frontend_pb2.CloseSessionRequest(session_id=session_id)
        try:
            await self.acall("CloseSession", request, timeout=5.0)
        except ClusterError as error:
            if error.code == FlameErrorCode.NOT_FOUND:
                return True
            if error.code in (FlameErrorCode.INVALID_STATE, FlameErrorCode.INTERNAL):
                return False
            raise
        return True

    def close(self) -> None:
        """Close the connection; what is under way fails."""
        self.connection.close()


async def _running_loop() -> asyncio.AbstractEventLoop:
    return asyncio.get_running_loop()
