"""The verbs: init, shutdown, get, put, wait, cancel, kill; and the engine at first use."""

from __future__ import annotations

import atexit
import os
import sys
import threading
from collections.abc import Iterable, Mapping
from operator import attrgetter
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, TypeVar, overload

from flame_remote import _current
from flame_remote._boot import create_engine
from flame_remote._config import Config, load_config
from flame_remote._current import current_engine, require_usable, set_current
from flame_remote._deadline import Deadline
from flame_remote._options import nearest
from flame_remote._refs import ObjectRef, unregister_engine
from flame_remote._registry import drop_services
from flame_remote._wire.packing import pack
from flame_remote.engine import Engine
from flame_remote.exceptions import (
    EngineClosedError,
    EngineError,
    FlameError,
    InvalidOptionError,
    RefMisuseError,
)

if TYPE_CHECKING:
    from typing_extensions import Never

T = TypeVar("T")
T1 = TypeVar("T1")
T2 = TypeVar("T2")
T3 = TypeVar("T3")
T4 = TypeVar("T4")
K = TypeVar("K")

_INIT_OPTIONS: Final = (
    "engine",
    "num_cpus",
    "num_gpus",
    "resources",
    "store_bytes",
    "ignore_reinit_error",
)
_id_of: Final = attrgetter("_id")
_engine_of: Final = attrgetter("_engine")
_ONLY_REFS: Final = frozenset({ObjectRef})


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
    ignore_reinit_error: bool = False,
    **unknown: Never,
) -> Session:
    """Start an engine with settings. Not needed with the defaults: the first call starts it.

    Args:
        engine: "embedded" (this machine's cores), or "inline" (the calling thread, for debuggers);
            default FLAME_ENGINE, else "embedded".
        num_cpus: how many CPUs tasks may take in all; default FLAME_NUM_CPUS, else those that this
            process may use.
        num_gpus: how many GPUs tasks may take in all.
        resources: amounts of resources of your own, e.g. `{"license": 2}`.
        store_bytes: how much memory stored values may take; default 30 % of what is available.
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
            if ignore_reinit_error and _session is not None:
                return _session
            if _session is None:
                raise EngineError("init() was called inside a task, where flame is already running")
            raise EngineError(
                "flame is already running: call flame.shutdown() first, call init() before the "
                "first remote call, or pass ignore_reinit_error=True"
            )
        return _start(
            load_config(
                engine,
                num_cpus=num_cpus,
                num_gpus=num_gpus,
                resources=resources,
                store_bytes=store_bytes,
            )
        )


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


# --- values ---------------------------------------------------------------------------------------


@overload
def get(refs: ObjectRef[T], *, timeout: float | None = None) -> T: ...
@overload
def get(  # type: ignore[overload-overlap]
    refs: tuple[()], *, timeout: float | None = None
) -> tuple[()]: ...
@overload
def get(  # type: ignore[overload-overlap]
    refs: tuple[ObjectRef[T1]], *, timeout: float | None = None
) -> tuple[T1]: ...
@overload
def get(  # type: ignore[overload-overlap]
    refs: tuple[ObjectRef[T1], ObjectRef[T2]], *, timeout: float | None = None
) -> tuple[T1, T2]: ...
@overload
def get(  # type: ignore[overload-overlap]
    refs: tuple[ObjectRef[T1], ObjectRef[T2], ObjectRef[T3]], *, timeout: float | None = None
) -> tuple[T1, T2, T3]: ...
@overload
def get(  # type: ignore[overload-overlap]
    refs: tuple[ObjectRef[T1], ObjectRef[T2], ObjectRef[T3], ObjectRef[T4]],
    *,
    timeout: float | None = None,
) -> tuple[T1, T2, T3, T4]: ...
@overload
def get(  # type: ignore[overload-overlap]
    refs: tuple[ObjectRef[T], ...], *, timeout: float | None = None
) -> tuple[T, ...]: ...
@overload
def get(  # type: ignore[overload-overlap]
    refs: Mapping[K, ObjectRef[T]], *, timeout: float | None = None
) -> dict[K, T]: ...
@overload
def get(refs: Iterable[ObjectRef[T]], *, timeout: float | None = None) -> list[T]: ...


def get(refs: Any, *, timeout: float | None = None) -> Any:
    """Wait for results and return them, in order; raise the first failure as soon as it is known.

    Args:
        refs: one ref; or a tuple, a dict with refs as values, or any other iterable of refs.
        timeout: seconds to wait at most; None waits as long as it takes, 0 not at all.

    Returns:
        The value of one ref; a tuple for a tuple, a dict for a dict, else a list.

    Raises:
        GetTimeoutError: the time is over; says which results are missing. The tasks go on.
        TaskError: a task raised; also an instance of the exception's own type.
        RefMisuseError: something among `refs` is no ref.
        SessionEndedError: a ref belongs to a session that has ended.
        DeadlockError: the result waits, through other tasks, for this very call.
    """
    try:
        return _get(refs, timeout)
    except BaseException as error:
        raise seen_from_here(error)  # noqa: B904  the same error


def _get(refs: Any, timeout: float | None) -> Any:
    if type(refs) is not ObjectRef:
        refs = _unproxied(refs)
    if type(refs) is ObjectRef:
        engine = refs._engine
        if engine is not _current.engine:
            require_usable(engine, "an ObjectRef")
        return engine.get((refs,), Deadline(timeout))[0]
    if type(refs) is list:
        return _get_all(refs, timeout)
    if isinstance(refs, Mapping):
        return dict(zip(refs, _get_all(list(refs.values()), timeout), strict=True))
    if isinstance(refs, tuple):
        return tuple(_get_all(list(refs), timeout))
    return _get_all(_listed(refs, "get"), timeout)


def _get_all(refs: list[ObjectRef[Any]], timeout: float | None) -> list[Any]:
    """Get the values of a list. Does nothing per ref in Python: lists may be long."""
    deadline = Deadline(timeout)
    if not refs:
        return []
    if not _ONLY_REFS.issuperset(map(type, refs)):
        refs = _checked(refs, "get")
    _require_all_usable(refs)
    engine = refs[0]._engine
    if len(set(map(_engine_of, refs))) > 1:
        return [ref._engine.get((ref,), Deadline(deadline.remaining()))[0] for ref in refs]
    return engine.get(refs, deadline)


def _require_all_usable(refs: list[ObjectRef[Any]]) -> None:
    """Raise SessionEndedError or ForkedError if the engine of a ref cannot be used here."""
    for engine in set(map(_engine_of, refs)):
        require_usable(engine, "an ObjectRef")


def put(value: T) -> ObjectRef[T]:
    """Store a value once, for many tasks. Returns when it is stored: it may be changed afterwards.

    Args:
        value: anything that pickles; large arrays are shared by all tasks that take them.

    Returns:
        A ref; passed to `.remote()`, the value arrives in its place.

    Raises:
        SerializationError: the value cannot travel; says which part.
        RefMisuseError: the value is a ref already.
        StoreFullError: there is no room.
    """
    if type(value) is ObjectRef:
        raise RefMisuseError("put() takes a value; this is an ObjectRef already: use it as it is")
    try:
        packed = pack(value, lambda: f"the {type(value).__name__} given to put()")
        return ensure_engine().put(packed)
    except FlameError as error:
        raise seen_from_here(error)  # noqa: B904  the same error


def wait(
    refs: Iterable[ObjectRef[T]], *, num_returns: int = 1, timeout: float | None = None
) -> tuple[list[ObjectRef[T]], list[ObjectRef[T]]]:
    """Wait until some results are there, whether values or errors.

    Args:
        refs: different refs, in any iterable.
        num_returns: for how many to wait; 1 or more, at most as many as there are refs.
        timeout: seconds to wait at most; None waits as long as it takes, 0 not at all.

    Returns:
        `(ready, rest)`, both in the order of `refs`; at most `num_returns` in `ready`, fewer only
        after the timeout.

    Raises:
        ValueError: a ref is there twice, or `num_returns` is out of range.
        RefMisuseError: something among `refs` is no ref.
        SessionEndedError: a ref belongs to a session that has ended.
    """
    listed = refs if type(refs) is list else _listed(refs, "wait")
    # In C per ref: loops call this with long lists, once per result (benchmarks: wait).
    if not _ONLY_REFS.issuperset(map(type, listed)):
        listed = _checked(listed, "wait")
    if len(set(map(_id_of, listed))) != len(listed):
        _require_all_different(listed)
    if isinstance(num_returns, bool) or not isinstance(num_returns, int):
        raise TypeError(f"num_returns must be a whole number, not {type(num_returns).__name__}")
    if not 0 < num_returns <= len(listed):
        raise ValueError(
            f"num_returns must be 1 to {len(listed)}, the number of refs, not {num_returns}"
        )
    deadline = Deadline(timeout)
    places = _places_done(listed, num_returns)
    if len(places) < num_returns:
        _require_all_usable(listed)
        done = listed[0]._engine.wait(listed, num_returns, deadline)
        places = [place for place, ref in enumerate(listed) if ref._id in done][:num_returns]
    ready = [listed[place] for place in places]
    rest = listed.copy()
    for place in reversed(places):
        del rest[place]
    return ready, rest


def _require_all_different(refs: list[ObjectRef[Any]]) -> None:
    """Raise ValueError if a ref is there twice; ids may be, in sessions of which one has ended."""
    _require_all_usable(refs)
    seen: set[ObjectRef[Any]] = set()
    for ref in refs:
        if ref in seen:
            raise ValueError(f"wait() takes different refs: {ref!r} is there more than once")
        seen.add(ref)


def _places_done(refs: list[ObjectRef[T]], most: int) -> list[int]:
    """Return the places of the first refs that are done, at most `most`; stop at the last."""
    places: list[int] = []
    for place, ref in enumerate(refs):
        if ref._engine.is_done(ref):
            places.append(place)
            if len(places) == most:
                break
    return places


def cancel(ref: ObjectRef[Any], *, force: bool = False) -> bool:
    """Cancel the task of a ref. Getting it then raises TaskCancelledError.

    Args:
        ref: what `.remote()` returned.
        force: end the process that runs the task, instead of raising KeyboardInterrupt in it.

    Returns:
        False if the task had ended already.

    Raises:
        RefMisuseError: `ref` is no ref.
        SessionEndedError: the ref belongs to a session that has ended.
    """
    (ref,) = _checked([ref], "cancel")
    require_usable(ref._engine, "an ObjectRef")
    return ref._engine.cancel(ref, force)


def kill(actor: object) -> None:
    """End an actor at once; its unfinished calls, and all later ones, fail with ActorDiedError.

    Args:
        actor: a handle, as `.remote()` of a class returned it.

    Raises:
        TypeError: `actor` is no handle.
        SessionEndedError: the actor belongs to a session that has ended.
    """
    ref = getattr(actor, "_flame_ref", None)
    if type(ref) is not ObjectRef:
        hint = "; to end a task, use cancel()" if type(actor) is ObjectRef else ""
        raise TypeError(f"kill() takes an actor's handle, not {_shown(actor)}{hint}")
    require_usable(ref._engine, "an actor handle")
    ref._engine.kill(ref._id)


def seen_from_here(error: BaseException) -> BaseException:
    """Return an error whose traceback no longer shows the package's own frames.

    Raised at once in a function that users call, it shows that function and what is theirs.
    """
    try:
        from flame_remote._execute.frames import without_own_frames  # only needed for an error
    except ImportError:  # the interpreter is exiting, and has taken the modules apart
        return error
    return error.with_traceback(without_own_frames(error.__traceback__))


# --- what is no ref -------------------------------------------------------------------------------


def _unproxied(value: Any) -> Any:
    """Return the ref behind a lazy proxy, anything else as it is."""
    # Where the module is not loaded, no proxy was ever made.
    proxies = sys.modules.get("flame_remote._proxy")
    return value if proxies is None else proxies.ref_behind(value)


def _listed(refs: Any, verb: str) -> list[Any]:
    """Turn an iterable into a list; refuse what cannot be an iterable of refs."""
    if type(_unproxied(refs)) is ObjectRef:
        raise RefMisuseError(f"{verb}() takes a list of refs: use {verb}([ref])")
    if isinstance(refs, (str, bytes)) or not isinstance(refs, Iterable):
        raise RefMisuseError(f"{verb}() takes ObjectRefs, not {_told(refs)}")
    return list(refs)


def _checked(refs: list[Any], verb: str) -> list[ObjectRef[Any]]:
    """Return the refs, proxies turned into theirs; raise for the first that is none."""
    checked: list[ObjectRef[Any]] = []
    for place, value in enumerate(refs):
        ref = _unproxied(value)
        if type(ref) is not ObjectRef:
            was = "not" if len(refs) == 1 else f"but item {place} is"
            raise RefMisuseError(f"{verb}() takes ObjectRefs, {was} {_told(value)}")
        checked.append(ref)
    return checked


def _told(value: Any) -> str:
    """Say what came instead of a ref, and what was probably forgotten."""
    # A remote function, a handle: these know themselves what to do instead.
    told: str | None = getattr(type(value), "_flame_instead_of_ref", None)
    if told is not None:
        return told.format(name=getattr(value, "__name__", ""))
    return f"{_shown(value)}; did you call square(3) instead of square.remote(3)?"


def _shown(value: object) -> str:
    try:
        shown = repr(value)
    except Exception:  # the user's own __repr__
        shown = "..."
    kind = type(value).__name__
    return f"{kind} {shown if len(shown) <= 60 else shown[:57] + '...'}"
