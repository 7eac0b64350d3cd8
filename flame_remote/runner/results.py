"""What a Runner does with many futures at once: get, ref, wait, select."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from typing import Any, TypeVar

from flame_remote._current import require_usable
from flame_remote._deadline import Deadline
from flame_remote._given_refs import shown, unproxied
from flame_remote._refs import ObjectRef
from flame_remote.engine import Engine
from flame_remote.exceptions import GetTimeoutError, RefMisuseError

T = TypeVar("T")


def listed(futures: Any, verb: str) -> list[ObjectRef[Any]]:
    """Return the futures that a verb was given as a list.

    Raises:
        RefMisuseError: it was given something else.
        SessionEndedError: a future belongs to a session that has ended.
    """
    if type(unproxied(futures)) is ObjectRef:
        raise RefMisuseError(
            f"runner.{verb}() takes a list of futures: use runner.{verb}([future])"
        )
    if isinstance(futures, (str, bytes)) or not isinstance(futures, Iterable):
        raise RefMisuseError(f"runner.{verb}() takes a list of futures, not {shown(futures)}")
    refs: list[ObjectRef[Any]] = []
    for place, value in enumerate(futures):
        ref = unproxied(value)
        if type(ref) is not ObjectRef:
            raise RefMisuseError(
                f"runner.{verb}() takes futures, which calls of a service return, but item {place} "
                f"is {shown(value)}"
            )
        require_usable(ref._engine, "a future")
        refs.append(ref)
    return refs


def get_all(refs: list[ObjectRef[T]], deadline: Deadline) -> list[T]:
    """Wait for all values, in order; raise the first failure as soon as it is known."""
    return refs[0]._engine.get(refs, deadline) if refs else []


def join_all(refs: list[ObjectRef[T]], deadline: Deadline) -> None:
    """Wait until all have ended; raise the first failure as soon as it is known."""
    if refs:
        refs[0]._engine.join(refs, deadline)


def in_completion_order(refs: list[ObjectRef[T]], deadline: Deadline) -> Iterator[ObjectRef[T]]:
    """Yield each future once, as it ends, well or badly.

    Raises:
        GetTimeoutError: the time is over before all have ended.
    """
    pending = {ref._id: ref for ref in refs}
    total = len(pending)
    ended: deque[int] = deque()
    for ref in pending.values():
        ref._engine.on_done(ref, lambda ref: ended.append(ref._id))
    while pending:
        if not ended:
            ended.extend(_wait_for_one(list(pending.values()), total, deadline))
        ref_or_none = pending.pop(ended.popleft(), None)
        if ref_or_none is not None:  # else the wait was told of it before the callback was called
            yield ref_or_none


def _wait_for_one(refs: list[ObjectRef[Any]], total: int, deadline: Deadline) -> list[int]:
    """Wait until at least one has ended; return which have. Blocks in the engine, which may run
    something else meanwhile and knows of deadlocks.
    """
    engine: Engine = refs[0]._engine
    done = engine.wait(refs, 1, deadline)
    if not done:
        waiting = tuple(engine.describe(ref) for ref in refs[:10])
        raise GetTimeoutError(len(refs), total, deadline.seconds or 0.0, waiting)
    return [ref._id for ref in refs if ref._id in done]
