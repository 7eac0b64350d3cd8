"""The connections of this process: shared, closed at exit, left alone in a forked child.

gRPC does not survive a fork: its threads are gone in the child, and what is left of them shares
descriptors with the parent, so that a call in the child would disturb the parent's. A child must
not even free what it has inherited. Its own connections go through a fresh process (`relay`).
"""

from __future__ import annotations

import ctypes
import os
import sys
import threading
import weakref
from collections.abc import Callable, Hashable
from typing import TYPE_CHECKING

from flame_remote._exit import close_last

if TYPE_CHECKING:
    from .connection import Connection


class Connections:
    """The connections of one process. Safe to call from any thread."""

    def __init__(self, grpc_is_usable: bool = True) -> None:
        # Constant after construction.
        self.grpc_is_usable = grpc_is_usable
        # Guarded by self._lock.
        self._lock = threading.Lock()
        self._shared: dict[Hashable, Connection] = {}
        self._all: weakref.WeakSet[Connection] = weakref.WeakSet()

    def add(self, connection: Connection) -> None:
        """Remember a connection, so that it is closed at exit."""
        with self._lock:
            self._all.add(connection)

    def shared(self, key: Hashable, make: Callable[[], Connection]) -> Connection:
        """Return the connection for a key; make one if there is none, or it was closed."""
        with self._lock:
            connection = self._shared.get(key)
        if connection is not None and not connection.is_closed:
            return connection
        made = make()
        with self._lock:
            connection = self._shared.get(key)
            if connection is None or connection.is_closed:
                self._shared[key] = connection = made
        if connection is not made:
            made.close()  # another thread was faster
        return connection

    def close_all(self) -> None:
        """Close every connection."""
        for connection in list(self._all):
            connection.close()

    def disown(self) -> None:
        """Make the parent's connections useless in a forked child, and never free them there."""
        for connection in list(self._all):
            ctypes.pythonapi.Py_IncRef(ctypes.py_object(connection.disown()))


_connections = Connections()


def connections() -> Connections:
    """Return the connections of this process."""
    return _connections


def _start_anew() -> None:
    """Give a forked child connections of its own."""
    global _connections
    inherited = _connections
    usable = inherited.grpc_is_usable and "grpc._cython.cygrpc" not in sys.modules
    _connections = Connections(grpc_is_usable=usable)
    inherited.disown()


os.register_at_fork(after_in_child=_start_anew)
# Registered as this is imported: what users register later, to use a connection, runs before it.
close_last(lambda: _connections.close_all())
