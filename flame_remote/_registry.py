"""Which target has which service: (engine, target, options) -> service, for the whole process."""

from __future__ import annotations

import os
import threading

from flame_remote.engine import Engine
from flame_remote.runner.runner import Options, Runner
from flame_remote.runner.service import Service
from flame_remote.runner.source import Source

_lock = threading.Lock()
_runners: dict[str, Runner] = {}  # by session; guarded by _lock


def _forget_the_parents() -> None:
    """In a child of os.fork(): the engines are the parent's, and so may be who holds the lock."""
    global _lock
    _lock = threading.Lock()
    _runners.clear()


os.register_at_fork(after_in_child=_forget_the_parents)


def service_of(engine: Engine, source: Source, options: Options) -> Service:
    """Return the service of a target on an engine; make it the first time.

    Raises:
        SerializationError: the target uses something that cannot travel.
        UnschedulableError: the engine can never meet the options.
        EngineClosedError: the engine was closed meanwhile.
    """
    with _lock:
        runner = _runners.get(engine.session)
        if runner is None:
            runner = _runners[engine.session] = Runner("default", engine)
    return runner.service(source, options)


def drop_services(engine: Engine) -> None:
    """Forget all services of an engine that is closed."""
    with _lock:
        runner = _runners.pop(engine.session, None)
    if runner is not None:
        runner.close()
