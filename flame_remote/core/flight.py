"""Flight clients: one per cache and process, which outlive restarts of the cache, and forks."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator, Set
from contextlib import contextmanager
from typing import Any, Final, TypeVar

from pyarrow import flight

from flame_remote._deadline import Deadline
from flame_remote._exit import close_last
from flame_remote.exceptions import ClusterError, FlameErrorCode

from . import cache_errors, grpc_threads
from .cache_address import CacheAddress
from .endpoint import CACHE_PORT, CACHE_SCHEMES, Endpoint

T = TypeVar("T")

TOKEN_HEADER: Final = b"authorization"
# How long a call looks for a cache that does not answer: one that restarts is back by then.
_PATIENCE_SECONDS: Final = 1.0
_PAUSE_SECONDS: Final = 0.05
_OPTIONS: Final = [
    ("grpc.max_send_message_length", -1),
    ("grpc.max_receive_message_length", -1),
    # Else clients of one process share how long they wait before they connect again.
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.initial_reconnect_backoff_ms", 50),
    ("grpc.max_reconnect_backoff_ms", 300),
    # How long a host that says nothing is waited for.
    ("grpc.min_reconnect_backoff_ms", 1500),
]


class FlightConnection:
    """A cache as seen from this process. Safe to use from any thread; made by `connection_to`.

    `knows_delete_many` is whether the cache is thought to have our action DELETE_MANY; whoever
    finds that it has not may say so.
    """

    def __init__(self, address: CacheAddress) -> None:
        """Connect to nothing yet. Raises ClusterError, INVALID_CONFIG: that is no endpoint."""
        self._address = address
        self._endpoint = Endpoint.parse(address.endpoint, address.origin, CACHE_SCHEMES, CACHE_PORT)
        # A ref can name any host: the token is told to none that could be overheard.
        private = self._endpoint.scheme == "grpcs" or self._endpoint.is_loopback
        header = (TOKEN_HEADER, f"Bearer {address.token}".encode())
        self._headers = [header] if address.token and private else []
        self.knows_delete_many = True
        # Guarded by _pool.lock.
        self._client: Any = None
        self._calls = 0

    def call(
        self,
        doing: str,
        operation: Callable[[Any, Any], T],
        *,
        timeout: float,
        repeatable: bool = True,
    ) -> T:
        """Run `operation(client, call options)`, again if the cache was not to be reached.

        Blocks, for `timeout` seconds at most.

        Args:
            doing: for the error, as in "get object app/session/key".
            operation: uses the client for one call and keeps nothing of it.
            timeout: seconds from now, for the call and its repetitions.
            repeatable: whether it may be carried out twice; else it is repeated only if it cannot
                have reached the cache.

        Raises:
            ConnectError: nobody listens there, or the connection was lost.
            ClusterTimeoutError: the cache gave no answer in time.
            ClusterError: the cache refused.
        """
        deadline = Deadline(timeout)
        patience = Deadline(_PATIENCE_SECONDS)
        while True:
            options = flight.FlightCallOptions(deadline.remaining(), headers=self._headers)
            try:
                with self._lent_client() as client:
                    return operation(client, options)
            except cache_errors.FLIGHT_ERRORS as error:
                if not cache_errors.is_ours(error):
                    raise
                over = patience.expired() or deadline.expired()
                if over or not _may_be_repeated(error, repeatable):
                    raise cache_errors.translate(error, doing, self._address, timeout) from error
            time.sleep(_PAUSE_SECONDS)

    @contextmanager
    def _lent_client(self) -> Iterator[Any]:
        with _pool.lock:
            _pool.require_usable()
            if self._client is None:
                _pool.note_grpc_begins()
                self._client = self._connect()
            client = self._client
            self._calls += 1
        try:
            yield client
        finally:
            with _pool.lock:
                self._calls -= 1

    def _connect(self) -> Any:
        options = list(_OPTIONS)
        if self._endpoint.is_loopback:  # whatever proxy the environment names
            options.append(("grpc.enable_http_proxy", 0))
        more = {}
        if self._endpoint.scheme == "grpcs" and self._address.ca_file is not None:
            more["tls_root_certs"] = _read_ca_file(self._address.ca_file)
        return flight.FlightClient(_location_of(self._endpoint), generic_options=options, **more)

    def close_if_idle(self) -> bool:
        """Give the connection back unless a call is under way. The caller holds _pool.lock."""
        if self._calls:
            return False
        client, self._client = self._client, None
        if client is not None:
            client.close()
        return True


class _Pool:
    """The connections of this process, and what becomes of them in a forked child.

    gRPC does not survive a fork: a child that uses what the parent had open hangs for ever. So all
    clients that are idle are closed before each fork, and opened again when they are next needed.
    """

    def __init__(self) -> None:
        self.lock = threading.RLock()
        # Guarded by self.lock.
        self._grpc_runs = False  # or has not been seen to end
        self._threads_before: Set[int] = frozenset()  # it ran
        self._connections: dict[CacheAddress, FlightConnection] = {}
        self._lost_in_fork = False
        self._inherited: list[FlightConnection] = []  # for ever: closing them here would hang

    def connection_to(self, address: CacheAddress) -> FlightConnection:
        with self.lock:
            connection = self._connections.get(address)
            if connection is None:
                connection = self._connections[address] = FlightConnection(address)
            return connection

    def require_usable(self) -> None:
        """Raise ClusterError if gRPC can do nothing in this process. The caller holds the lock."""
        if self._lost_in_fork:
            raise ClusterError(
                "this process was made by os.fork() while another thread was talking to the object "
                "cache, which gRPC cannot do: fork when no call is under way, or start processes "
                "with multiprocessing's 'spawn' method",
                FlameErrorCode.INVALID_STATE,
            )

    def note_grpc_begins(self) -> None:
        """Take note that gRPC starts its threads now. The caller holds the lock."""
        if not self._grpc_runs:
            self._grpc_runs = True
            self._threads_before = grpc_threads.thread_ids()

    def close_idle(self) -> bool:
        """Close what no call is using; say whether that is everything."""
        with self.lock:
            closed = [each.close_if_idle() for each in self._connections.values()]
            return all(closed)

    def stop_grpc(self) -> None:
        """Close what no call is using; if that was all, wait until gRPC has ended, too."""
        with self.lock:
            if self.close_idle() and self._grpc_runs:
                grpc_threads.wait_for_end(self._threads_before)
                self._grpc_runs = False

    def before_fork(self) -> None:
        self.lock.acquire()  # until after the fork: no call begins in between
        self.stop_grpc()

    def after_fork_in_parent(self) -> None:
        self.lock.release()

    def after_fork_in_child(self) -> None:
        self.lock = threading.RLock()
        if self._grpc_runs:
            self._lost_in_fork = True
        self._inherited += self._connections.values()
        self._connections = {}


_pool: Final = _Pool()
os.register_at_fork(
    before=_pool.before_fork,
    after_in_parent=_pool.after_fork_in_parent,
    after_in_child=_pool.after_fork_in_child,
)
close_last(_pool.close_idle)


def connection_to(address: CacheAddress) -> FlightConnection:
    """Return this process's connection to a cache; connects when it is first used.

    Raises ClusterError, INVALID_CONFIG, if the endpoint is none.
    """
    return _pool.connection_to(address)


def close_connections() -> None:
    """Close what no call is using; the next call opens it again. Blocks for some milliseconds."""
    _pool.stop_grpc()


def _may_be_repeated(error: BaseException, repeatable: bool) -> bool:
    """Say whether a call that failed may be made again, with hope."""
    if cache_errors.was_mistrusted(error):
        return False
    return cache_errors.was_not_sent(error) or (
        repeatable and cache_errors.connection_was_lost(error)
    )


def _location_of(endpoint: Endpoint) -> str:
    scheme = "grpc+tls" if endpoint.scheme == "grpcs" else "grpc"
    return f"{scheme}://{endpoint.target}"


def _read_ca_file(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError as error:
        raise ClusterError(
            f"cannot read the CA file of the object cache, {path!r}: {error.strerror}",
            FlameErrorCode.INVALID_CONFIG,
        ) from error
