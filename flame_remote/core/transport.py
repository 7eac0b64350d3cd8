"""Calls and streams to a cluster over gRPC, with errors translated and lost connections renewed."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Any, Final, Protocol

from flame_remote._deadline import NEVER, Deadline
from flame_remote.exceptions import ConnectError

from .channels import Lines
from .context import FlameContext
from .methods import METHODS
from .quiet_grpc import grpc
from .statuses import error_of_call, error_of_result, reason_of, was_never_sent

_ATTEMPTS: Final = 3  # at a call that may be repeated, while the server comes and goes
_RESULTS: Final = {"RegisterApplication", "UnregisterApplication", "UpdateApplication"}


class Transport(Protocol):
    """What a connection needs: `GrpcTransport`, or `RelayTransport` in a forked child."""

    @property
    def stub(self) -> Any: ...
    async def call(self, method: str, request: Any, seconds: float) -> Any: ...
    def stream(self, method: str, request: Any) -> AsyncGenerator[Any, None]: ...
    async def reconnected(self) -> None: ...
    async def close(self) -> None: ...


class GrpcTransport:
    """Calls and streams to one cluster. Belongs to the thread of one asyncio loop."""

    def __init__(
        self, context: FlameContext, connect_timeout: float, reconnect_timeout: float
    ) -> None:
        """Make a channel; nothing is sent yet. Raises what `Lines` raises."""
        self._context = context
        self._reconnect_timeout = reconnect_timeout
        self._metadata: tuple[tuple[str, str], ...] = ()
        if context.token is not None:
            self._metadata = (("authorization", f"Bearer {context.token}"),)
        self._lines = Lines(context, connect_timeout)

    @property
    def stub(self) -> Any:
        """Flame's Frontend service on the channel for calls."""
        return self._lines.main.stub

    async def call(self, method: str, request: Any, seconds: float) -> Any:
        """Call the cluster; `seconds` are for all of it. Raises ClusterError."""
        deadline = Deadline(seconds)
        words = METHODS[method]
        for attempt in range(1, _ATTEMPTS + 1):
            await self._lines.main.reach.ready(deadline)
            try:
                answer = await getattr(self.stub, method)(
                    request, timeout=deadline.remaining(), metadata=self._metadata
                )
            except grpc.aio.AioRpcError as error:
                lost = error.code() is grpc.StatusCode.UNAVAILABLE
                if lost and attempt < _ATTEMPTS and (words.repeatable or was_never_sent(error)):
                    continue
                doing = words.describe(request)
                raise error_of_call(error, doing, self._context, seconds) from None
            if method in _RESULTS and answer.return_code != 0:
                doing = words.describe(request)
                raise error_of_result(answer.message, answer.return_code, doing)
            return answer
        raise AssertionError("the last attempt returns or raises")

    async def stream(self, method: str, request: Any) -> AsyncGenerator[Any, None]:
        """Yield the messages of a stream.

        Raises:
            ConnectError: nobody answers, or the connection was lost.
            ClusterError: the cluster refused the call.
        """
        with self._lines.for_stream() as line:
            await line.reach.ready(NEVER)  # it has a limit of its own
            call = getattr(line.stub, method)(request, metadata=self._metadata)
            try:
                async for message in call:
                    yield message
            except grpc.aio.AioRpcError as error:
                if error.code() is grpc.StatusCode.UNAVAILABLE:
                    raise self._error(
                        f"connection lost ({reason_of(error.details() or '')})"
                    ) from None
                doing = METHODS[method].describe(request)
                raise error_of_call(error, doing, self._context, None) from None
            finally:
                if not call.done():
                    call.cancel()

    async def reconnected(self) -> None:
        """Wait for a server that has gone; raise ConnectError when it stays away too long."""
        deadline = Deadline(self._reconnect_timeout)
        while True:
            try:
                return await self._lines.main.reach.ready(NEVER)  # has its own limit
            except ConnectError as error:
                if deadline.expired():
                    raise self._error(
                        f"the connection was lost and has not come back within "
                        f"{self._reconnect_timeout:g} s: {error.reason}"
                    ) from None

    async def close(self) -> None:
        """Close all channels."""
        await self._lines.close()

    def _error(self, reason: str) -> ConnectError:
        return ConnectError(self._context.endpoint, self._context.origin("endpoint"), reason)
