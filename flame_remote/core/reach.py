"""Whether the server of a channel is there: waited for a little, told with the reason."""

from __future__ import annotations

import asyncio
from typing import Any, Final

from flame_remote._deadline import Deadline
from flame_remote._proto import frontend_pb2
from flame_remote.exceptions import ClusterError, ConnectError, FlameErrorCode

from .context import FlameContext
from .quiet_grpc import grpc
from .statuses import reason_of

_State = grpc.ChannelConnectivity
_HANGS_UP: Final = {"socket closed", "connection reset by peer"}  # as TLS servers do


class Reach:
    """Makes sure that a channel is connected. Belongs to the thread of one asyncio loop.

    At the first time a server that refuses is told at once. Later it is waited for: it may be
    starting, and gRPC tries again after pauses of its own.
    """

    def __init__(
        self, context: FlameContext, channel: grpc.aio.Channel, stub: Any, connect_timeout: float
    ) -> None:
        """Take the channel and Flame's Frontend service on it."""
        # Constant after construction.
        self._context = context
        self._channel = channel
        self._stub = stub
        self._connect_timeout = connect_timeout
        # Changing.
        self._is_first = True
        self._attempt: asyncio.Task[None] | None = None  # one for all calls that wait

    async def ready(self, deadline: Deadline) -> None:
        """Return when the channel is connected.

        Raises:
            ConnectError: nobody has answered for `connect_timeout` seconds, or the deadline passed.
        """
        if self._channel.get_state() is _State.READY:
            return
        if self._attempt is None or self._attempt.done():
            self._attempt = asyncio.create_task(self._connect())
            # Nobody hears of its error if all who wait have run out of time before.
            self._attempt.add_done_callback(lambda task: task.cancelled() or task.exception())
        try:
            await asyncio.wait_for(asyncio.shield(self._attempt), deadline.remaining())
        except asyncio.TimeoutError:
            raise self._error(f"no answer within {deadline.seconds:g} s") from None

    async def _connect(self) -> None:
        channel, deadline = self._channel, Deadline(self._connect_timeout)
        is_first, self._is_first = self._is_first, False
        while True:
            state = channel.get_state(try_to_connect=True)
            if state is _State.READY:
                return
            if state is _State.SHUTDOWN:
                raise ClusterError("the connection was closed", FlameErrorCode.INVALID_STATE)
            refused = is_first and state is _State.TRANSIENT_FAILURE
            if refused or deadline.expired():
                raise self._error(await self._why_not())
            try:
                changed = channel.wait_for_state_change(state)
                await asyncio.wait_for(changed, deadline.remaining())
            except asyncio.TimeoutError:
                pass

    async def _why_not(self) -> str:
        """Return why the channel is not connected, which gRPC tells only to a call."""
        request = frontend_pb2.ListNodesRequest()
        try:
            await self._stub.ListNodes(request, timeout=0.05)
        except grpc.aio.AioRpcError as error:
            if error.code() is grpc.StatusCode.UNAVAILABLE:
                reason = reason_of(error.details() or "")
                if reason in _HANGS_UP and self._context.endpoint.startswith("http://"):
                    return f"{reason}; if it wants TLS, its address begins with https"
                return reason
        return f"no answer within {self._connect_timeout:g} s"

    def _error(self, reason: str) -> ConnectError:
        return ConnectError(self._context.endpoint, self._context.origin("endpoint"), reason)
