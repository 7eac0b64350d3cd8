"""A connection to a Flame cluster, which any thread can use."""

from __future__ import annotations

import asyncio
import concurrent.futures
from collections.abc import AsyncGenerator, Coroutine
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any, Final, TypeVar

from flame_remote.exceptions import (
    ClusterError,
    ClusterTimeoutError,
    FlameErrorCode,
    ForkedError,
)

from .context import FlameContext
from .loop import LoopThread
from .processes import connections
from .settled import settled_context
from .watching import TaskWatcher

if TYPE_CHECKING:
    from .tasks import Task
    from .transport import Transport

T = TypeVar("T")

CALL_SECONDS: Final = 60.0  # that a call may take if it is not told otherwise


class Connection:
    """A connection to one cluster: one background thread with an asyncio loop, some channels.

    Safe to call from any thread. Connects at the first call, and again whenever the server has gone
    and come back. In a child made by os.fork() every use raises ForkedError; the child can make a
    connection of its own.
    """

    def __init__(
        self,
        context: FlameContext,
        *,
        connect_timeout: float = 2.0,
        reconnect_timeout: float = 60.0,
    ) -> None:
        """Start the thread; nothing is sent yet.

        Args:
            context: which cluster.
            connect_timeout: seconds that a call waits for the server to be there.
            reconnect_timeout: seconds that watched tasks wait for a server that has gone.

        Raises:
            ClusterError: INVALID_CONFIG; the CA file cannot be read, or the token would travel in
                the clear.
        """
        # Constant after construction.
        self.context = context
        self._loop = LoopThread("flame-connection", self._closed_error)
        try:
            self._transport = self._loop.spawn(
                self._open(connect_timeout, reconnect_timeout)
            ).result()
        except BaseException:
            self._loop.close(_nothing)
            raise
        # The loop's thread only.
        self._watcher = TaskWatcher(self)
        # Set in a forked child.
        self._forked = False
        connections().add(self)

    # --- calls ------------------------------------------------------------------------------------

    def call(self, method: str, request: Any, *, timeout: float | None = None) -> Any:
        """Call the cluster and wait for the answer.

        Args:
            method: of Flame's Frontend service, "GetTask".
            request: its message.
            timeout: seconds for the whole call, connecting included; None for 60.

        Returns:
            The message that answers it.

        Raises:
            ConnectError: nobody answers at the endpoint; told within 2 seconds.
            ClusterTimeoutError: the answer did not come in time.
            ClusterError: the cluster refused the call; `code` says why.
        """
        return self.wait_for(self.acall(method, request, timeout=timeout))

    async def acall(self, method: str, request: Any, *, timeout: float | None = None) -> Any:
        """Do what `call` does, without blocking; from any asyncio loop."""
        seconds = CALL_SECONDS if timeout is None else timeout
        return await self.on_loop(self._transport.call(method, request, seconds))

    def stream(self, method: str, request: Any) -> AsyncGenerator[Any, None]:
        """Yield the messages of a stream; on the connection's loop only.

        Raises:
            ConnectError: nobody answers, or the connection was lost; told within 2 seconds.
            ClusterError: the cluster refused the call.
        """
        return self._transport.stream(method, request)

    @property
    def stub(self) -> Any:
        """Flame's Frontend service on a grpc.aio channel, for code on the connection's loop.

        Its calls raise gRPC's own errors, and have no deadline that they are not given.
        """
        return self._transport.stub

    # --- tasks ------------------------------------------------------------------------------------

    def watch(self, session_id: str, task_id: str) -> Future[Task]:
        """Wait for the end of a task, without blocking; thousands may be watched at once.

        Args:
            session_id: of its session.
            task_id: of the task.

        Returns:
            A future of the task in its last state (Succeed, Failed or Cancelled), a failed one with
            its events. It fails with ClusterError (NOT_FOUND) if the task or its session is not
            there any more, WorkerStartError if its session can start no instance, ConnectError if
            the server went away and stayed away. Its callbacks run in the connection's thread and
            must not block. Cancelling it ends the watching, not the task.
        """
        return self.spawn(self._watcher.end_of(session_id, task_id))

    async def awatch(self, session_id: str, task_id: str) -> Task:
        """Do what `watch` does, from any asyncio loop."""
        return await self.on_loop(self._watcher.end_of(session_id, task_id))

    def updates(self, session_id: str, task_id: str) -> AsyncGenerator[Task, None]:
        """Yield a task each time its state has changed; on the connection's loop only."""
        return self._watcher.updates(session_id, task_id)

    async def reconnected(self) -> None:
        """Wait for a server that has gone; raises ConnectError when it stays away too long."""
        await self._transport.reconnected()

    # --- the loop ---------------------------------------------------------------------------------

    def spawn(self, coroutine: Coroutine[Any, Any, T]) -> Future[T]:
        """Run a coroutine on the connection's loop, where it must not block. Never blocks itself.

        Cancelling the future cancels the coroutine. Raises ClusterError (INVALID_STATE) if the
        connection was closed, ForkedError in a forked child.
        """
        if self._forked:
            coroutine.close()
            raise ForkedError(
                "this connection was made before os.fork() and belongs to the parent process; "
                "ask for sessions and connections anew in the child"
            )
        return self._loop.spawn(coroutine)

    async def on_loop(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine on the connection's loop, whichever loop it is awaited from."""
        if asyncio.get_running_loop() is self._loop.loop:
            return await coroutine
        return await asyncio.wrap_future(self.spawn(coroutine))

    def keep(self, coroutine: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Run a coroutine in the background, until it ends or `close`; on the loop only."""
        return self._loop.keep(coroutine)

    def wait_for(
        self, coroutine: Coroutine[Any, Any, T], timeout: float | None = None, what: str = "nothing"
    ) -> T:
        """Run a coroutine on the connection's loop, and wait for what it comes to.

        Args:
            coroutine: cancelled if the wait ends before it does.
            timeout: seconds; None for as long as it takes.
            what: for the error, what did not come: "the end of task 1".

        Raises:
            ClusterTimeoutError: it took longer than `timeout`.
            ClusterError: INVALID_STATE; the caller is the connection's own thread, as a callback of
                a future is, and would wait for itself.
        """
        if self._loop.is_current:
            coroutine.close()
            raise ClusterError(
                "a blocking call was made in the thread of the connection, where callbacks of "
                "futures run: it would wait for itself; make it in another thread",
                FlameErrorCode.INVALID_STATE,
            )
        future = self.spawn(coroutine)
        try:
            return future.result(timeout)
        except concurrent.futures.TimeoutError:
            if future.done():
                raise  # by the coroutine; our patience has not ended
            raise ClusterTimeoutError(f"{what} did not come within {timeout:g} s") from None
        finally:
            future.cancel()

    def close(self) -> None:
        """Close the channels and end the thread; what is waited for fails. May be called twice."""
        if not self._forked:
            self._loop.close(self._transport.close)

    @property
    def is_closed(self) -> bool:
        """Whether `close` was called."""
        return self._loop.is_closed

    def disown(self) -> object:
        """Become useless, in a forked child; return what must never be freed there."""
        self._forked = True
        return self._transport, self._loop

    async def _open(self, connect_timeout: float, reconnect_timeout: float) -> Transport:
        if connections().grpc_is_usable:
            from .transport import GrpcTransport

            return GrpcTransport(self.context, connect_timeout, reconnect_timeout)
        from .relay import RelayTransport

        return await RelayTransport.start(self.context, connect_timeout, reconnect_timeout)

    def _closed_error(self) -> ClusterError:
        return ClusterError(
            f"the connection to {self.context.endpoint} was closed", FlameErrorCode.INVALID_STATE
        )


async def _nothing() -> None:
    """Close what was never opened."""


def get_connection(context: FlameContext | None = None) -> Connection:
    """Return the connection of this process to a cluster; made at the first call.

    Args:
        context: which cluster; None for what environment and ~/.flame/flame.yaml say now.

    Returns:
        One connection per process for each cluster, CA file and token; closed at exit.

    Raises:
        ClusterError: INVALID_CONFIG; the context is wrong.
    """
    context = context or settled_context()
    return connections().shared(
        (context.endpoint, context.cluster_ca_file, context.token), lambda: Connection(context)
    )
