"""The verbs: get, put, wait, cancel, free, kill."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from operator import attrgetter
from typing import Any, Final, NoReturn, TypeVar, overload

from flame_remote import _current
from flame_remote._current import require_usable
from flame_remote._deadline import Deadline
from flame_remote._given_refs import checked_refs, listed_refs, shown, unproxied
from flame_remote._own_frames import seen_from_here
from flame_remote._refs import ObjectRef
from flame_remote._session import ensure_engine
from flame_remote._wire.packing import pack
from flame_remote.exceptions import FlameError, RefMisuseError

T = TypeVar("T")
T1 = TypeVar("T1")
T2 = TypeVar("T2")
T3 = TypeVar("T3")
T4 = TypeVar("T4")
K = TypeVar("K")

_id_of: Final = attrgetter("_id")
_engine_of: Final = attrgetter("_engine")
_ONLY_REFS: Final = frozenset({ObjectRef})


@overload
def get(refs: ObjectRef[T], *, timeout: float | None = None, readonly: bool = False) -> T: ...
@overload
def get(  # type: ignore[overload-overlap]
    refs: tuple[()], *, timeout: float | None = None, readonly: bool = False
) -> tuple[()]: ...
@overload
def get(  # type: ignore[overload-overlap]
    refs: tuple[ObjectRef[T1]], *, timeout: float | None = None, readonly: bool = False
) -> tuple[T1]: ...
@overload
def get(  # type: ignore[overload-overlap]
    refs: tuple[ObjectRef[T1], ObjectRef[T2]],
    *,
    timeout: float | None = None,
    readonly: bool = False,
) -> tuple[T1, T2]: ...
@overload
def get(  # type: ignore[overload-overlap]
    refs: tuple[ObjectRef[T1], ObjectRef[T2], ObjectRef[T3]],
    *,
    timeout: float | None = None,
    readonly: bool = False,
) -> tuple[T1, T2, T3]: ...
@overload
def get(  # type: ignore[overload-overlap]
    refs: tuple[ObjectRef[T1], ObjectRef[T2], ObjectRef[T3], ObjectRef[T4]],
    *,
    timeout: float | None = None,
) -> tuple[T1, T2, T3, T4]: ...
@overload
def get(  # type: ignore[overload-overlap]
    refs: tuple[ObjectRef[T], ...], *, timeout: float | None = None, readonly: bool = False
) -> tuple[T, ...]: ...
@overload
def get(  # type: ignore[overload-overlap]
    refs: Mapping[K, ObjectRef[T]], *, timeout: float | None = None, readonly: bool = False
) -> dict[K, T]: ...
@overload
def get(
    refs: Iterable[ObjectRef[T]], *, timeout: float | None = None, readonly: bool = False
) -> list[T]: ...


def get(refs: Any, *, timeout: float | None = None, readonly: bool = False) -> Any:
    """Wait for results and return them, in order; raise the first failure as soon as it is known.

    Args:
        refs: one ref; or a tuple, a dict with refs as values, or any other iterable of refs.
        timeout: seconds to wait at most; None waits as long as it takes, 0 not at all.
        readonly: make buffers and numpy arrays in the values read-only, as Ray does. Otherwise they
            can be written to, and nobody else sees that.

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
        if readonly:
            from flame_remote._wire.read_only import arrays_read_only  # few ask for that

            with arrays_read_only():
                return _get(refs, timeout)
        return _get(refs, timeout)
    except BaseException as error:
        raise seen_from_here(error)  # noqa: B904  the same error


def _get(refs: Any, timeout: float | None) -> Any:
    if type(refs) is not ObjectRef:
        refs = unproxied(refs)
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
    return _get_all(listed_refs(refs, "get"), timeout)


def _get_all(refs: list[ObjectRef[Any]], timeout: float | None) -> list[Any]:
    """Get the values of a list. Does nothing per ref in Python: lists may be long."""
    deadline = Deadline(timeout)
    if not refs:
        return []
    if not _ONLY_REFS.issuperset(map(type, refs)):
        refs = checked_refs(refs, "get")
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
    listed = refs if type(refs) is list else listed_refs(refs, "wait")
    # In C per ref: loops call this with long lists, once per result (benchmarks: wait).
    if not _ONLY_REFS.issuperset(map(type, listed)):
        if any(hasattr(type(ref), "_flame_next_ref") for ref in listed):
            return _wait_with_streams(listed, num_returns, timeout)
        listed = checked_refs(listed, "wait")
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


def _wait_with_streams(
    listed: list[Any], num_returns: int, timeout: float | None
) -> tuple[list[Any], list[Any]]:
    """As `wait`, where some of the refs are generators of refs: ready when their next one is."""
    stand_ins = [
        ref._flame_next_ref() if hasattr(type(ref), "_flame_next_ref") else ref for ref in listed
    ]
    places = [place for place, ref in enumerate(stand_ins) if ref is None]  # with no more to come
    if len(places) < num_returns:
        others = [ref for ref in stand_ins if ref is not None]
        ready, _ = wait(others, num_returns=num_returns - len(places), timeout=timeout)
        ids = {ref._id for ref in ready}
        places = [n for n, ref in enumerate(stand_ins) if ref is None or ref._id in ids]
    chosen = set(places[:num_returns])
    return (
        [ref for place, ref in enumerate(listed) if place in chosen],
        [ref for place, ref in enumerate(listed) if place not in chosen],
    )


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


def cancel(
    ref: ObjectRef[Any],
    *,
    force: bool = False,
    recursive: bool = True,
    grace: float | None = None,
) -> bool:
    """Cancel the task of a ref. Getting it then raises TaskCancelledError.

    Args:
        ref: what `.remote()` returned.
        force: end the process that runs the task, instead of raising KeyboardInterrupt in it.
        recursive: cancel the calls that the task has started, too, and what those have.
        grace: wait so many seconds for the task to end; if it has not by then, end its process, as
            with `force`. None does not wait. With `force` there is nothing to wait for.

    Returns:
        False if the task had ended already.

    Raises:
        ValueError: `grace` is negative.
        RefMisuseError: `ref` is no ref.
        SessionEndedError: the ref belongs to a session that has ended.
    """
    (ref,) = checked_refs([ref], "cancel")
    require_usable(ref._engine, "an ObjectRef")
    return ref.cancel(force=force, recursive=recursive, grace=grace)


def free(refs: ObjectRef[Any] | Iterable[ObjectRef[Any]]) -> None:
    """Let go of values now, though refs to them are left: getting those raises ObjectFreedError.

    Seldom needed: a value goes with its last ref. Calls that take one of the values and have not
    begun fail with ObjectFreedError; a task that is to make one goes on, and its result is thrown
    away. Bytes that somebody reads, as an array, stay until he has done.

    Args:
        refs: one ref, or any iterable of refs.

    Raises:
        RefMisuseError: something among `refs` is no ref.
        SessionEndedError: a ref belongs to a session that has ended.
    """
    refs = unproxied(refs)
    listed = checked_refs([refs] if type(refs) is ObjectRef else listed_refs(refs, "free"), "free")
    _require_all_usable(listed)
    for engine in set(map(_engine_of, listed)):
        engine.free([ref for ref in listed if ref._engine is engine])


def kill(actor: object, *, no_restart: bool = True) -> None:
    """End an actor at once; its unfinished calls, and all later ones, fail with ActorDiedError.

    Args:
        actor: a handle, as `.remote()` of a class returned it.
        no_restart: False ends only its process, as if that had died: what `max_restarts` and
            `max_task_retries` say happens.

    Raises:
        TypeError: `actor` is no handle.
        SessionEndedError: the actor belongs to a session that has ended.
    """
    ref = getattr(actor, "_flame_ref", None)
    if type(ref) is not ObjectRef:
        hint = "; to end a task, use cancel()" if type(actor) is ObjectRef else ""
        raise TypeError(f"kill() takes an actor's handle, not {shown(actor)}{hint}")
    require_usable(ref._engine, "an actor handle")
    actor._flame_kill(may_restart=not no_restart)  # type: ignore[attr-defined]


def exit_actor() -> NoReturn:
    """End the actor that this code is a method of. Called in a method; never returns.

    The call returns None. Calls that have not begun, and all later ones, fail with ActorDiedError,
    and the actor is not restarted. Its exit hooks run. Of calls that run beside this one those in
    threads go on to their end first, and coroutines are cancelled.

    Raises:
        EngineError: the code that calls this is no method of an actor.
    """
    ensure_engine().exit_actor()
