"""The services of one engine: (source, options) -> service."""

from __future__ import annotations

import threading
import weakref

from flame_remote._options import ActorOptions, TaskOptions
from flame_remote.engine import Engine
from flame_remote.exceptions import EngineClosedError

from .service import ActorService, FunctionService, Service
from .source import Source

Options = TaskOptions | ActorOptions


class ServiceTable:
    """Makes the services of decorated targets and remembers them. Safe to use from any thread.

    A service lives as long as the table and the function or class that it serves.
    """

    def __init__(self, engine: Engine) -> None:
        # Constant after construction.
        self.engine = engine
        self._lock = threading.Lock()
        # Guarded by self._lock.
        self._closed = False
        self._services: weakref.WeakKeyDictionary[Source, dict[Options, Service]] = (
            weakref.WeakKeyDictionary()
        )

    def service(self, source: Source, options: Options) -> Service:
        """Return the service of a target under its options; export the target the first time.

        Args:
            source: the function or class.
            options: TaskOptions make a FunctionService, ActorOptions an ActorService.

        Raises:
            SerializationError: the target uses something that cannot travel.
            UnschedulableError: the engine can never meet the options.
            EngineClosedError: the table was closed.
        """
        with self._lock:
            service = self._services.get(source, {}).get(options)
        if service is not None:
            return service
        # Outside the lock: pickling runs the user's code, which may make remote calls itself. Two
        # threads may both export; the first one's service is kept.
        if isinstance(options, TaskOptions):
            service = FunctionService(self.engine, source, options)
        else:
            service = ActorService(self.engine, source, options)
        with self._lock:
            if self._closed:
                raise EngineClosedError()
            return self._services.setdefault(source, {}).setdefault(options, service)

    def close(self) -> None:
        """Forget the services. May be called twice; calls that are under way go on."""
        with self._lock:
            self._closed = True
            self._services.clear()
