"""The engine of this process: started by `init` or at first use, ended by `shutdown` or at exit."""

from __future__ import annotations

import atexit
import os
import threading
from collections.abc import Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final

from flame_remote import (
    _current,
    _exit,  # noqa: F401  registers its handler before ours, and so runs after it
)
from flame_remote._boot import create_engine
from flame_remote._config import Config, load_config
from flame_remote._current import current_engine, set_current
from flame_remote._options import nearest
from flame_remote._refs import unregister_engine
from flame_remote._registry import drop_services
from flame_remote.engine import Engine
from flame_remote.exceptions import EngineClosedError, EngineError, InvalidOptionError

if TYPE_CHECKING:
    from typing_extensions import Never

_INIT_OPTIONS: Final = (
    "engine",
    "num_cpus",
    "num_gpus",
    "resources",
    "store_bytes",
    "timeline",
    "memory",
    "runtime_env",
    "ignore_reinit_error",
)


class Session:
    """What `init` started: usable as a context manager, which shuts it down at the end."""

    def __init__(self, engine: Engine, config: Config) -> None:
        self._engine = engine
        self.config = config

    @property
    def resources(self) -> Mapping[str, float]:
        """How much of each resource the engine has in all, e.g. {"CPU": 2.0}."""
        return self._engine.resources()

    def close(self) -> None:
        """Shut the engine down if it is still this one. May be called twice."""
        _close(self._engine)

    def __enter__(self) -> Session:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        state = "running" if _current.engine is self._engine else "closed"
        return f"<flame session: {self.config.engine} engine, {state}>"


# Guarded by _lock.
_lock = threading.RLock()  # an engine's start may garbage-collect, and so run any finaliser
_session: Session | None = None  # the session that this process started; a worker has none
_exiting = False


# --- start and end --------------------------------------------------------------------------------


def init(
    engine: str | None = None,
    *,
    num_cpus: int | None = None,
    num_gpus: float | None = None,
    resources: Mapping[str, float] | None = None,
    store_bytes: int | None = None,
    timeline: bool | None = None,
    memory: int | str | None = None,
    runtime_env: Mapping[str, Any] | None = None,
    ignore_reinit_error: bool = False,
    **unknown: Never,
) -> Session:
    """Start an engine with settings. Not needed with the defaults: the first call starts it.

    Args:
        engine: "embedded" (this machine's cores), or "inline" (the calling thread, for debuggers);
            default FLAME_ENGINE, else "embedded".
        num_cpus: how many CPUs tasks may take in all; default FLAME_NUM_CPUS, else those that this
            process may use.
        num_gpus: how many GPUs tasks may take in all; default those that CUDA_VISIBLE_DEVICES
            shows, else those of the machine. Each task sees its own.
        resources: amounts of resources of your own, e.g. `{"license": 2}`.
        store_bytes: how much memory stored values may take; default 30 % of what is available.
        timeline: note when calls run, for `flame.timeline`; default FLAME_TIMELINE, else not.
        memory: how many bytes tasks may ask for in all, or a size such as "16g"; default the
            machine's memory, or the limit of the control group.
        runtime_env: what all calls find around them where they run: `env_vars`, `working_dir`,
            `py_modules`.
        ignore_reinit_error: return the running session instead of raising.

    Returns:
        The session, usable as a context manager that shuts down at the end.

    Raises:
        EngineError: an engine is running already.
        InvalidOptionError: a setting is unknown or out of range.
        TypeError: a setting is of the wrong type.
        WorkerStartError: worker processes cannot be started.
    """
    for name in unknown:
        raise InvalidOptionError(
            f"init() has no option {name!r}{nearest(name, _INIT_OPTIONS)}; "
            f"options: {', '.join(_INIT_OPTIONS)}"
        )
    with _lock:
        if _current.engine is not None:
            return _running_session(ignore_reinit_error)
        return _start(
            load_config(
                engine,
                num_cpus=num_cpus,
                num_gpus=num_gpus,
                resources=resources,
                store_bytes=store_bytes,
                timeline=timeline,
                memory=memory,
                runtime_env=runtime_env,
            )
        )


def _running_session(ignore_reinit_error: bool) -> Session:
    """Return the session that is there when `init` is called. The caller holds _lock."""
    if _session is None:
        raise EngineError("init() was called inside a task, where flame is already running")
    if not ignore_reinit_error:
        raise EngineError(
            "flame is already running: call flame.shutdown() first, call init() before the "
            "first remote call, or pass ignore_reinit_error=True"
        )
    return _session


def shutdown() -> None:
    """End the engine: calls that are under way fail, worker processes end. May be called twice.

    The next call starts a new engine; refs and actor handles of this one are of no use then.

    Raises:
        EngineError: called inside a task.
    """
    engine = _current.engine
    if engine is None:
        return
    if _session is None or engine.current_task():
        raise EngineError(
            "shutdown() was called inside a task; only the main program may end flame"
        )
    _close(engine)


def is_initialized() -> bool:
    """Say whether an engine is running in this process."""
    return _current.engine is not None


def ensure_engine() -> Engine:
    """Return this process's engine; start one with the defaults if there is none.

    Raises:
        ForkedError: this process was made by os.fork() and has not called `init`.
        EngineClosedError: the interpreter is about to exit.
        WorkerStartError: worker processes cannot be started.
    """
    engine = _current.engine
    if engine is not None:
        return engine
    with _lock:  # the second of two threads finds the engine of the first
        engine = current_engine()
        if engine is not None:
            return engine
        _require_not_exiting()  # a finaliser that runs late finds no module to read settings with
        return _start(load_config())._engine


def _require_not_exiting() -> None:
    if _exiting:
        raise EngineClosedError("the interpreter is exiting: flame cannot start")


def _start(config: Config) -> Session:
    """Start an engine and make it this process's. The caller holds _lock."""
    global _session
    _require_not_exiting()
    engine = create_engine(config)
    set_current(engine)
    _session = Session(engine, config)
    return _session


def _close(engine: Engine) -> None:
    global _session
    with _lock:
        if _current.engine is not engine:
            return
        # 1. No new call finds the engine. 2. It ends; waiting calls raise. 3. Refs that come back
        # from elsewhere are refused.
        set_current(None)
        _session = None
        drop_services(engine)
        try:
            engine.close()
        finally:
            unregister_engine(engine)


def _close_at_exit() -> None:
    """Close before the interpreter takes modules apart.

    Registered at import: handlers that the user registers later run earlier, and may still use
    the engine.
    """
    global _exiting
    with _lock:
        _exiting = True
        if _session is not None and _current.engine is not None:
            _close(_current.engine)


def _renew_after_fork() -> None:
    """In a child of os.fork(): the session is the parent's, and so may be who holds the lock."""
    global _lock, _session
    _lock = threading.RLock()
    _session = None


atexit.register(_close_at_exit)
os.register_at_fork(after_in_child=_renew_after_fork)
