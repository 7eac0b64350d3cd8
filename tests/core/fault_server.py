"""A Frontend that does what a test tells it to: a real gRPC server on a real socket, in a thread.

It keeps applications, sessions and tasks as Flame does, runs nothing, and goes wrong on demand.
"""

from __future__ import annotations

import asyncio
import threading
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any, TypeVar

import grpc
import grpc.aio

from flame_remote._proto import frontend_pb2 as asks
from flame_remote._proto import frontend_pb2_grpc as services
from flame_remote._proto import types_pb2 as types

T = TypeVar("T")

FINAL = {types.Succeed, types.Failed, types.Cancelled}
NOW = 1_700_000_000_123  # milliseconds


@dataclass(eq=False)
class Watch:
    """A stream that is open: states to send, or how to end."""

    queue: asyncio.Queue[types.Task | grpc.StatusCode | None] = field(default_factory=asyncio.Queue)


class Frontend(services.FrontendServicer):
    """The service. Belongs to the server's loop."""

    def __init__(self) -> None:
        self.applications: dict[str, types.Application] = {}
        self.sessions: dict[str, types.Session] = {}
        self.tasks: dict[tuple[str, str], types.Task] = {}
        self.watches: dict[tuple[str, str], list[Watch]] = defaultdict(list)
        self.calls: Counter[str] = Counter()
        self.requests: list[Any] = []
        self.metadata: list[dict[str, str]] = []
        self.refusals: dict[str, tuple[grpc.StatusCode, str]] = {}
        self.results: dict[str, types.Result] = {}
        self.silent: set[str] = set()
        self.watched_in_vain = False  # streams end at once, without a word
        self.events_in_streams = False

    async def _enter(self, method: str, request: Any, context: Any) -> None:
        """Note a call; do to it what the test wants to be done to such calls."""
        self.calls[method] += 1
        self.requests.append(request)
        self.metadata.append(dict(context.invocation_metadata()))
        if method in self.silent:
            await asyncio.Event().wait()
        if method in self.refusals:
            await context.abort(*self.refusals[method])

    # --- applications ---

    async def RegisterApplication(self, request: Any, context: Any) -> types.Result:
        await self._enter("RegisterApplication", request, context)
        if "RegisterApplication" in self.results:
            return self.results["RegisterApplication"]
        self.applications[request.name] = types.Application(
            metadata=types.Metadata(id=request.name, name=request.name),
            spec=request.application,
            status=types.ApplicationStatus(creation_time=NOW),
        )
        return types.Result()

    async def UpdateApplication(self, request: Any, context: Any) -> types.Result:
        await self._enter("UpdateApplication", request, context)
        self.applications[request.name].spec.CopyFrom(request.application)
        return self.results.get("UpdateApplication", types.Result())

    async def UnregisterApplication(self, request: Any, context: Any) -> types.Result:
        await self._enter("UnregisterApplication", request, context)
        self.applications.pop(request.name, None)
        return self.results.get("UnregisterApplication", types.Result())

    async def GetApplication(self, request: Any, context: Any) -> types.Application:
        await self._enter("GetApplication", request, context)
        if request.name not in self.applications:
            await context.abort(grpc.StatusCode.NOT_FOUND, request.name)
        return self.applications[request.name]

    async def ListApplication(self, request: Any, context: Any) -> Any:
        await self._enter("ListApplication", request, context)
        return types.ApplicationList(applications=self.applications.values())

    # --- nodes ---

    async def ListExecutor(self, request: Any, context: Any) -> types.ExecutorList:
        await self._enter("ListExecutor", request, context)
        executor = types.Executor(
            metadata=types.Metadata(id="e1", name="e1"),
            spec=types.ExecutorSpec(node="n1", resreq=types.ResourceRequirement(cpu=1)),
            status=types.ExecutorStatus(state=types.ExecutorBound, session_id="s1"),
        )
        return types.ExecutorList(executors=[executor])

    async def ListNodes(self, request: Any, context: Any) -> types.NodeList:
        await self._enter("ListNodes", request, context)
        return types.NodeList(nodes=[a_node()])

    async def GetNode(self, request: Any, context: Any) -> asks.GetNodeResponse:
        await self._enter("GetNode", request, context)
        if request.name != "n1":
            await context.abort(grpc.StatusCode.NOT_FOUND, f"node {request.name} not found")
        return asks.GetNodeResponse(node=a_node())

    # --- sessions ---

    async def CreateSession(self, request: Any, context: Any) -> types.Session:
        await self._enter("CreateSession", request, context)
        session = types.Session(
            metadata=types.Metadata(id=request.session_id, name=request.session_id),
            spec=request.session,
            status=types.SessionStatus(creation_time=NOW),
        )
        self.sessions[request.session_id] = session
        return session

    async def OpenSession(self, request: Any, context: Any) -> types.Session:
        await self._enter("OpenSession", request, context)
        if request.session_id not in self.sessions and request.HasField("session"):
            return await self.CreateSession(request, context)
        return await self._session(request, context)

    async def GetSession(self, request: Any, context: Any) -> types.Session:
        await self._enter("GetSession", request, context)
        return await self._session(request, context)

    async def CloseSession(self, request: Any, context: Any) -> types.Session:
        await self._enter("CloseSession", request, context)
        session = await self._session(request, context)
        session.status.state = types.Closed
        session.status.completion_time = NOW + 1000
        return session

    async def DeleteSession(self, request: Any, context: Any) -> types.Session:
        await self._enter("DeleteSession", request, context)
        session = await self._session(request, context)
        del self.sessions[request.session_id]
        return session

    async def ListSession(self, request: Any, context: Any) -> types.SessionList:
        await self._enter("ListSession", request, context)
        return types.SessionList(sessions=self.sessions.values())

    async def _session(self, request: Any, context: Any) -> types.Session:
        if request.session_id not in self.sessions:
            await context.abort(
                grpc.StatusCode.NOT_FOUND, f"Session {request.session_id} not found"
            )
        return self.sessions[request.session_id]

    # --- tasks ---

    async def CreateTask(self, request: Any, context: Any) -> types.Task:
        await self._enter("CreateTask", request, context)
        session_id = request.task.session_id
        number = str(sum(key[0] == session_id for key in self.tasks) + 1)
        task = types.Task(
            metadata=types.Metadata(id=number, name=number),
            spec=request.task,
            status=types.TaskStatus(creation_time=NOW),
        )
        self.tasks[session_id, number] = task
        return task

    async def GetTask(self, request: Any, context: Any) -> types.Task:
        await self._enter("GetTask", request, context)
        key = (request.session_id, request.task_id)
        if key not in self.tasks:
            await context.abort(grpc.StatusCode.NOT_FOUND, request.task_id)
        return self.tasks[key]

    async def ListTask(self, request: Any, context: Any) -> AsyncIterator[types.Task]:
        await self._enter("ListTask", request, context)
        await self._session(request, context)
        for (session_id, _), task in list(self.tasks.items()):
            if session_id == request.session_id:
                yield self._as_streamed(task)

    async def WatchTask(self, request: Any, context: Any) -> AsyncIterator[types.Task]:
        await self._enter("WatchTask", request, context)
        key = (request.session_id, request.task_id)
        if self.watched_in_vain or key not in self.tasks:
            return
        if self.tasks[key].status.state in FINAL:
            yield self._as_streamed(self.tasks[key])
            return
        watch = Watch()
        self.watches[key].append(watch)
        try:
            while True:
                message = await watch.queue.get()
                if message is None:
                    return
                if isinstance(message, grpc.StatusCode):
                    await context.abort(message, "broken by the test")
                yield self._as_streamed(message)
                if message.status.state in FINAL:
                    return
        finally:
            self.watches[key].remove(watch)

    def _as_streamed(self, task: types.Task) -> types.Task:
        """Leave out the events, as Flame does in streams."""
        copy = types.Task()
        copy.CopyFrom(task)
        if not self.events_in_streams:
            del copy.status.events[:]
        return copy

    # --- what tests do ---

    def set_state(
        self,
        key: tuple[str, str],
        state: int,
        output: bytes | None = None,
        event: str | None = None,
    ) -> None:
        """Bring a task into a state, and tell those that watch it."""
        task = self.tasks[key]
        task.status.state = state
        if output is not None:
            task.spec.output = output
        if event is not None:
            task.status.events.add(code=state, message=event, creation_time=NOW)
        self.tell(key, task)

    def tell(self, key: tuple[str, str], message: types.Task | grpc.StatusCode | None) -> None:
        """Send a message to the open streams of a task; None ends them, a status breaks them."""
        for watch in self.watches[key]:
            watch.queue.put_nowait(message)

    def add_event(self, session_id: str, code: int, message: str) -> None:
        """Note something that happened to a session."""
        self.sessions[session_id].status.events.add(code=code, message=message, creation_time=NOW)

    def count(self, session_id: str, **counters: int) -> None:
        """Set counters of a session, such as pending."""
        for name, number in counters.items():
            setattr(self.sessions[session_id].status, name, number)


class FaultServer:
    """Runs a Frontend in a thread. `do` reaches into it; it can be stopped and started again."""

    def __init__(self, credentials: grpc.ServerCredentials | None = None) -> None:
        self.frontend = Frontend()
        self._credentials = credentials
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="fault-server")
        self._thread.start()
        self.port = 0
        self.start()

    @property
    def endpoint(self) -> str:
        return f"{'http' if self._credentials is None else 'https'}://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Listen, the second time on the same port."""
        self.await_(self._start())

    def stop(self) -> None:
        """Stop at once: connections are cut."""
        self.await_(self._server.stop(None))

    def close(self) -> None:
        """End the thread."""
        self.stop()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def do(self, change: Callable[[Frontend], T]) -> T:
        """Look at the frontend, or change it, in its own thread."""

        async def act() -> T:
            return change(self.frontend)

        return self.await_(act())

    def await_(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine in the server's thread."""
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(10)

    async def _start(self) -> None:
        self._server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
        services.add_FrontendServicer_to_server(self.frontend, self._server)
        address = f"127.0.0.1:{self.port}"
        if self._credentials is None:
            self.port = self._server.add_insecure_port(address)
        else:
            self.port = self._server.add_secure_port(address, self._credentials)
        await self._server.start()


def a_node() -> types.Node:
    """Return the only node."""
    capacity = types.ResourceRequirement(cpu=8, memory=2**34, gpu=1)
    return types.Node(
        metadata=types.Metadata(id="n1", name="n1"),
        spec=types.NodeSpec(hostname="host-1"),
        status=types.NodeStatus(
            state=types.Ready,
            capacity=capacity,
            allocatable=capacity,
            info=types.NodeInfo(arch="x86_64", os="linux"),
            addresses=[types.NodeAddress(type="InternalIP", address="10.0.0.1")],
            last_heartbeat_time=NOW,
        ),
    )
