"""Which target has which service: (engine, target, options) -> service, for the whole process."""

from __future__ import annotations

import os
import threading

from flame_remote.engine import Engine
from flame_remote.runner.service import Service
from flame_remote.runner.source import Source
from flame_remote.runner.table import Options, ServiceTable

_lock = threading.Lock()
_tables: dict[str, ServiceTable] = {}  # by session; guarded by _lock


def _forget_the_parents() -> None:
    """In a child of os.fork(): the engines are the parent's, and so may be who holds the lock."""
    global _lock
    _lock = threading.Lock()
    _tables.clear()


os.register_at_fork(after_in_child=_forget_the_parents)


def service_of(engine: Engine, source: Source, options: Options) -> Service:
    """Return the service of a target on an engine; make it the first time.

    Raises:
        SerializationError: the target uses something that cannot travel.
        UnschedulableError: the engine can never meet the options.
        EngineClosedError: the engine was closed meanwhile.
    """
    with _lock:
        table = _tables.get(engine.session)
        if table is None:
            table = _tables[engine.session] = ServiceTable(engine)
    return table.service(source, options)


def drop_services(engine: Engine) -> None:
    """Forget all services of an engine that is closed."""
    with _lock:
        table = _tables.pop(engine.session, None)
    if table is not None:
        table.close()
