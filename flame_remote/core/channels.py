"""gRPC channels to a cluster: how they are made, and many for the streams."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

from flame_remote.exceptions import ClusterError, FlameErrorCode

from .context import FlameContext
from .endpoint import CLUSTER_PORT, CLUSTER_SCHEMES, Endpoint
from .quiet_grpc import grpc
from .reach import Reach

# HTTP/2 servers and the proxies before them commonly allow 100 streams on a connection; what is
# over that waits, without a word, for another stream to end. A watch may last for hours.
STREAMS_PER_CHANNEL: Final = 100

_OPTIONS: Final[list[tuple[str, int]]] = [
    ("grpc.max_receive_message_length", -1),  # a task is echoed with its input and its output
    ("grpc.max_send_message_length", -1),  # the server has the limit, and says so
    # After a restart of the server it should be found again at once, not after two minutes.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1000),
    ("grpc.min_reconnect_backoff_ms", 5000),  # in spite of its name: what one attempt may take
    # Connections die without a word behind some firewalls. More often than every five minutes is
    # taken for an attack by gRPC's own servers.
    ("grpc.keepalive_time_ms", 310_000),
    ("grpc.keepalive_timeout_ms", 20_000),
    # Else all channels to an address share one connection, and its streams.
    ("grpc.use_local_subchannel_pool", 1),
]


@dataclass(slots=True)
class Line:
    """One channel, who makes sure that it is connected, and how many streams it carries."""

    channel: grpc.aio.Channel
    stub: Any  # a FrontendStub; the generated code has no types
    reach: Reach
    streams: int = 0


class Lines:
    """All channels of a connection. Belongs to the thread of one asyncio loop.

    `main` is for calls, the others are for streams.
    """

    def __init__(self, context: FlameContext, connect_timeout: float) -> None:
        """Make the first channel; nothing is sent yet.

        Raises ClusterError (INVALID_CONFIG) if the CA file cannot be read, or the token would
        travel in the clear.
        """
        self._context = context
        self._connect_timeout = connect_timeout
        self._endpoint, roots = check_context(context)
        self._credentials = None
        if self._endpoint.scheme == "https":
            self._credentials = grpc.ssl_channel_credentials(root_certificates=roots)
        self.main = self._open()
        self._for_streams: list[Line] = []

    @contextmanager
    def for_stream(self) -> Iterator[Line]:
        """Lend a channel that has room for one more stream."""
        line = next(
            (line for line in self._for_streams if line.streams < STREAMS_PER_CHANNEL), None
        )
        if line is None:
            line = self._open()
            self._for_streams.append(line)
        line.streams += 1
        try:
            yield line
        finally:
            line.streams -= 1

    async def close(self) -> None:
        """Close all channels, and cancel what they carry."""
        for line in (self.main, *self._for_streams):
            await line.channel.close()

    def _open(self) -> Line:
        from flame_remote._proto.frontend_pb2_grpc import FrontendStub  # imports gRPC aloud

        options = list(_OPTIONS)
        if self._endpoint.is_loopback:
            options.append(("grpc.enable_http_proxy", 0))  # a proxy would look on its own machine
        target = self._endpoint.target
        if self._credentials is None:
            channel = grpc.aio.insecure_channel(target, options)
        else:
            channel = grpc.aio.secure_channel(target, self._credentials, options)
        stub = FrontendStub(channel)  # type: ignore[no-untyped-call]
        return Line(channel, stub, Reach(self._context, channel, stub, self._connect_timeout))


def check_context(context: FlameContext) -> tuple[Endpoint, bytes | None]:
    """Return where a cluster is, and what it is verified against: the CA file, else None.

    Raises ClusterError (INVALID_CONFIG) if the CA file cannot be read, or the token would travel in
    the clear to another machine.
    """
    origin = context.origin("endpoint")
    endpoint = Endpoint.parse(context.endpoint, origin, CLUSTER_SCHEMES, CLUSTER_PORT)
    secure = endpoint.scheme == "https"
    if context.token is not None and not secure and not endpoint.is_loopback:
        raise ClusterError(
            f"the token (from {context.origin('token')}) would travel in the clear to "
            f"{context.endpoint} (from {origin}); use https",
            FlameErrorCode.INVALID_CONFIG,
        )
    if context.cluster_ca_file is None or not secure:
        return endpoint, None
    try:
        with open(context.cluster_ca_file, "rb") as file:
            return endpoint, file.read()
    except OSError as error:
        raise ClusterError(
            f"the CA file {context.cluster_ca_file} (from {context.origin('cluster_ca_file')}) "
            f"cannot be read: {error.strerror}",
            FlameErrorCode.INVALID_CONFIG,
        ) from error
