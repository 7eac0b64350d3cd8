"""Flame's Frontend service over a manager."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from typing import cast

from flame_remote._proto import frontend_pb2, types_pb2

from . import events as ev
from .commands import Refusal
from .manager import Manager
from .messages import (
    application_message,
    executor_message,
    session_message,
    task_message,
)
from .nodes import Node
from .records import Session, Task
from .states import TaskState
from .tables import Refused
from .watching import TaskVanished

OwnerOf = Callable[[types_pb2.ApplicationSpec], str]


class Frontend:
    """One method for each RPC, under its name. Raises Refused, which `rpc` turns into a status."""

    def __init__(self, manager: Manager, node: Node, owner_of: OwnerOf) -> None:
        self._manager = manager
        self._node = node
        self._owner_of = owner_of

    # --- applications -------------------------------------------------------------------

    async def RegisterApplication(
        self, request: frontend_pb2.RegisterApplicationRequest
    ) -> types_pb2.Result:
        """Add an application."""
        spec = _checked(request)
        owner = self._owner_of(spec)
        return await self._result(ev.RegisterApplication(request.name, spec, owner))

    async def UpdateApplication(
        self, request: frontend_pb2.UpdateApplicationRequest
    ) -> types_pb2.Result:
        """Replace an application's spec."""
        return await self._result(ev.UpdateApplication(request.name, _checked(request)))

    async def UnregisterApplication(
        self, request: frontend_pb2.UnregisterApplicationRequest
    ) -> types_pb2.Result:
        """Remove an application and its sessions."""
        return await self._result(ev.UnregisterApplication(request.name))

    async def GetApplication(
        self, request: frontend_pb2.GetApplicationRequest
    ) -> types_pb2.Application:
        """Return one application."""
        application = self._manager.tables.applications.get(request.name)
        if application is None:
            raise Refused(
                Refusal.NOT_FOUND, f"Application {request.name} not found: it is not registered"
            )
        return application_message(application)

    async def ListApplication(
        self, request: frontend_pb2.ListApplicationRequest
    ) -> types_pb2.ApplicationList:
        """Return all applications."""
        applications = self._manager.tables.applications.values()
        return types_pb2.ApplicationList(applications=map(application_message, applications))

    async def _result(self, request: ev.Request) -> types_pb2.Result:
        try:
            await self._manager.ask(request)
        except Refused as refused:
            if refused.why is not Refusal.RESULT:
                raise
            return types_pb2.Result(return_code=-1, message=refused.text)
        return types_pb2.Result(return_code=0)

    # --- executors and nodes ------------------------------------------------------------

    async def ListExecutor(
        self, request: frontend_pb2.ListExecutorRequest
    ) -> types_pb2.ExecutorList:
        """Return all instances."""
        tables = self._manager.tables
        return types_pb2.ExecutorList(
            executors=[
                executor_message(i, tables.sessions.get(i.session_id), self._node.name)
                for i in tables.instances.values()
            ]
        )

    async def ListNodes(self, request: frontend_pb2.ListNodesRequest) -> types_pb2.NodeList:
        """Return the one node that there is."""
        return types_pb2.NodeList(nodes=[self._node_message()])

    async def GetNode(self, request: frontend_pb2.GetNodeRequest) -> frontend_pb2.GetNodeResponse:
        """Return a node by name."""
        if request.name != self._node.name:
            raise Refused(Refusal.NOT_FOUND, f"node <{request.name}>")
        return frontend_pb2.GetNodeResponse(node=self._node_message())

    def _node_message(self) -> types_pb2.Node:
        tables = self._manager.tables
        used = [
            session.spec.resreq
            for instance in tables.instances.values()
            if (session := tables.sessions.get(instance.session_id)) is not None
        ]
        return self._node.message(used, self._manager.now())

    # --- sessions -----------------------------------------------------------------------

    async def CreateSession(self, request: frontend_pb2.CreateSessionRequest) -> types_pb2.Session:
        """Open a new session."""
        if not request.HasField("session"):
            raise Refused(Refusal.INVALID_ARGUMENT, "session spec is missing")
        return await self._session(ev.CreateSession(request.session_id, request.session))

    async def OpenSession(self, request: frontend_pb2.OpenSessionRequest) -> types_pb2.Session:
        """Return a session, or open a new one."""
        spec = request.session if request.HasField("session") else None
        return await self._session(ev.OpenSession(request.session_id, spec))

    async def CloseSession(self, request: frontend_pb2.CloseSessionRequest) -> types_pb2.Session:
        """Close a session."""
        return await self._session(ev.CloseSession(request.session_id))

    async def DeleteSession(self, request: frontend_pb2.DeleteSessionRequest) -> types_pb2.Session:
        """Forget a closed session."""
        return await self._session(ev.DeleteSession(request.session_id))

    async def GetSession(self, request: frontend_pb2.GetSessionRequest) -> types_pb2.Session:
        """Return one session."""
        session = self._manager.tables.sessions.get(request.session_id)
        if session is None:
            raise Refused(Refusal.NOT_FOUND, request.session_id)
        return session_message(session)

    async def ListSession(self, request: frontend_pb2.ListSessionRequest) -> types_pb2.SessionList:
        """Return all sessions, closed ones too."""
        sessions = self._manager.tables.sessions.values()
        return types_pb2.SessionList(sessions=map(session_message, sessions))

    async def _session(self, request: ev.Request) -> types_pb2.Session:
        return session_message(cast(Session, await self._manager.ask(request)))

    # --- tasks --------------------------------------------------------------------------

    async def CreateTask(self, request: frontend_pb2.CreateTaskRequest) -> types_pb2.Task:
        """Queue a task."""
        spec = request.task
        task_input = spec.input if spec.HasField("input") else None
        task = cast(Task, await self._manager.ask(ev.CreateTask(spec.session_id, task_input)))
        return task_message(task, (task_input, None), TaskState.PENDING)

    async def GetTask(self, request: frontend_pb2.GetTaskRequest) -> types_pb2.Task:
        """Return one task."""
        task = self._manager.tables.task(request.session_id, request.task_id)
        await self._manager.committed()
        return self._task(task)

    async def WatchTask(
        self, request: frontend_pb2.WatchTaskRequest
    ) -> AsyncIterator[types_pb2.Task]:
        """Send the task after each change of its state, until it has ended."""
        task = self._manager.tables.task(request.session_id, request.task_id)
        seen = task.state
        while not task.state.ended:
            try:
                await self._manager.watchers.changed(task)
            except TaskVanished:
                text = f"task {task.number} of session {task.session_id} was removed"
                raise Refused(Refusal.NOT_FOUND, text) from None
            if task.state is not seen and not task.state.ended:
                seen = task.state
                yield self._task(task)
        await self._manager.committed()
        yield self._task(task)

    async def ListTask(
        self, request: frontend_pb2.ListTaskRequest
    ) -> AsyncIterator[types_pb2.Task]:
        """Send all tasks of a session."""
        session = self._manager.tables.session(request.session_id)
        await self._manager.committed()
        for task in list(session.tasks.values()):
            yield self._task(task)

    def _task(self, task: Task) -> types_pb2.Task:
        return task_message(task, self._manager.payload(task))


def _checked(
    request: frontend_pb2.RegisterApplicationRequest | frontend_pb2.UpdateApplicationRequest,
) -> types_pb2.ApplicationSpec:
    """Return the spec of a request. Raises Refused for one that cannot be meant."""
    if not request.HasField("application"):
        raise Refused(Refusal.INVALID_ARGUMENT, "application spec is missing")
    spec = request.application
    for name, what in (
        ("input", "input"),
        ("output", "output"),
        ("common_data", "common data"),
    ):
        if spec.schema.HasField(name):
            _check_schema(what, getattr(spec.schema, name))
    if spec.working_directory and not spec.working_directory.startswith("/"):
        raise Refused(
            Refusal.INVALID_ARGUMENT,
            f"working_directory must be an absolute path, got: {spec.working_directory}",
        )
    return spec


def _check_schema(what: str, text: str) -> None:
    try:
        schema = json.loads(text)
    except ValueError as error:
        raise Refused(Refusal.INVALID_ARGUMENT, f"invalid {what} schema: {error}") from None
    if not isinstance(schema, (dict, bool)):
        raise Refused(
            Refusal.INVALID_ARGUMENT,
            f"invalid {what} schema: expected a JSON object, got {type(schema).__name__}",
        )
