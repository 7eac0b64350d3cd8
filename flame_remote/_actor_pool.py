"""`ActorPool`: hands work to whichever of some actors is idle."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Generic, TypeVar

from flame_remote._api import get, wait
from flame_remote._refs import ObjectRef

A = TypeVar("A")
V = TypeVar("V")


class ActorPool(Generic[A]):
    """Some actors, each of which does one piece of work at a time. Use from one thread.

    Work is a function of an actor and a value that makes a call, as
    `lambda actor, value: actor.method.remote(value)`. What does not find an idle actor waits here,
    and goes out as results are taken.
    """

    def __init__(self, actors: Iterable[A]) -> None:
        """Take over the actors, which should be idle.

        Args:
            actors: handles, as `.remote()` of a class returns them.
        """
        self._idle: deque[A] = deque(actors)
        self._busy: dict[ObjectRef[Any], tuple[int, A]] = {}  # -> place in line, actor
        self._ref_at: dict[int, ObjectRef[Any]] = {}
        self._waiting: deque[tuple[Callable[[A, Any], ObjectRef[Any]], Any]] = deque()
        self._submitted = 0  # places in line that have been given to a call
        self._returned = 0  # the place whose result `get_next` returns

    # --- one by one ---------------------------------------------------------------------

    def submit(self, fn: Callable[[A, V], ObjectRef[Any]], value: V) -> None:
        """Give a piece of work to an idle actor, or keep it until there is one. Does not block.

        Args:
            fn: makes the call; returns its ref.
            value: what `fn` gets beside the actor.
        """
        if not self._idle:
            self._waiting.append((fn, value))
            return
        actor = self._idle.popleft()
        ref = fn(actor, value)
        self._busy[ref] = (self._submitted, actor)
        self._ref_at[self._submitted] = ref
        self._submitted += 1

    def has_next(self) -> bool:
        """Say whether a result has not been taken yet."""
        return bool(self._busy or self._waiting)

    def get_next(self, timeout: float | None = None, ignore_if_timedout: bool = False) -> Any:
        """Return the next result in the order of submission. Blocks.

        Args:
            timeout: seconds to wait at most; None waits as long as it takes.
            ignore_if_timedout: when the time is over, drop this result instead of keeping it for
                the next call.

        Raises:
            StopIteration: nothing was submitted whose result has not been taken.
            GetTimeoutError: the time is over.
            TaskError: the call failed.
        """
        if not self.has_next():
            raise StopIteration("no more results: nothing is submitted")
        while self._returned not in self._ref_at and self._returned < self._submitted:
            self._returned += 1  # was returned out of order
        ref = self._ref_at.get(self._returned)
        if ref is None:
            raise ValueError(
                "get_next() cannot follow get_next_unordered() while work waits for an actor"
            )
        ready, _ = wait([ref], timeout=timeout)
        if not ready and not ignore_if_timedout:
            return get(ref, timeout=0)  # raises, and says what it waits for
        self._returned += 1
        self._release(ref)
        return get(ref, timeout=None if ready else 0)

    def get_next_unordered(
        self, timeout: float | None = None, ignore_if_timedout: bool = False
    ) -> Any:
        """Return the result of the call that ends next. Blocks.

        Args:
            timeout: seconds to wait at most; None waits as long as it takes.
            ignore_if_timedout: when the time is over, drop one of the results.

        Raises:
            StopIteration: nothing was submitted whose result has not been taken.
            GetTimeoutError: the time is over.
            TaskError: the call failed.
        """
        if not self.has_next():
            raise StopIteration("no more results: nothing is submitted")
        refs = list(self._busy)
        ready, _ = wait(refs, timeout=timeout)
        ref = (ready or refs)[0]
        if not ready and not ignore_if_timedout:
            return get(ref, timeout=0)  # raises, and says what it waits for
        self._release(ref)
        return get(ref, timeout=None if ready else 0)

    def _release(self, ref: ObjectRef[Any]) -> None:
        place, actor = self._busy.pop(ref)
        del self._ref_at[place]
        self._idle.append(actor)
        if self._waiting:
            self.submit(*self._waiting.popleft())

    # --- many ---------------------------------------------------------------------------

    def map(self, fn: Callable[[A, V], ObjectRef[Any]], values: Iterable[V]) -> Iterator[Any]:
        """Return an iterator of the results of all values, in order. Results left over are dropped.

        Args:
            fn: makes the call; returns its ref.
            values: what `fn` gets beside an actor, one after the other.
        """
        return self._mapped(fn, values, self.get_next)

    def map_unordered(
        self, fn: Callable[[A, V], ObjectRef[Any]], values: Iterable[V]
    ) -> Iterator[Any]:
        """As `map`, but each result comes as soon as it can, in no particular order."""
        return self._mapped(fn, values, self.get_next_unordered)

    def _mapped(
        self,
        fn: Callable[[A, V], ObjectRef[Any]],
        values: Iterable[V],
        get_one: Callable[[], Any],
    ) -> Iterator[Any]:
        while self.has_next():
            self.get_next_unordered(timeout=0, ignore_if_timedout=True)
        for value in values:
            self.submit(fn, value)

        def results() -> Iterator[Any]:
            while self.has_next():
                yield get_one()

        return results()

    # --- the actors ---------------------------------------------------------------------

    def has_free(self) -> bool:
        """Say whether an actor is idle and no work waits."""
        return bool(self._idle) and not self._waiting

    def pop_idle(self) -> A | None:
        """Take an idle actor out of the pool; None if all are busy."""
        return self._idle.popleft() if self.has_free() else None

    def push(self, actor: A) -> None:
        """Add an actor, which gets work at once if some waits.

        Raises:
            ValueError: the actor is in the pool already.
        """
        if actor in self._idle or any(actor == busy for _, busy in self._busy.values()):
            raise ValueError(f"{actor!r} is in this pool already")
        self._idle.append(actor)
        if self._waiting:
            self.submit(*self._waiting.popleft())
