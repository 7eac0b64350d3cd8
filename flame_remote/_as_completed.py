"""`as_completed`: refs in the order in which their tasks end."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Generic, TypeVar

from flame_remote._current import require_usable
from flame_remote._deadline import Deadline
from flame_remote._given_refs import checked_refs, listed_refs
from flame_remote._refs import ObjectRef
from flame_remote.exceptions import GetTimeoutError

if TYPE_CHECKING:
    import asyncio

T = TypeVar("T")


class AsCompleted(Generic[T]):
    """Refs as their tasks end, well or badly; iterate with `for` or `async for`.

    Refs may be added while the iteration goes on. Safe to use from any thread; several may share
    one, and each ref comes to one of them.
    """

    def __init__(self, refs: Iterable[ObjectRef[T]], timeout: float | None) -> None:
        self._deadline = Deadline(timeout)
        self._changed = threading.Condition()
        # Guarded by self._changed.
        self._waiting: set[ObjectRef[T]] = set()
        self._done: deque[ObjectRef[T]] = deque()
        self._total = 0
        self._wake: list[Callable[[], None]] = []  # one for each coroutine that waits
        self.update(refs)

    def add(self, ref: ObjectRef[T]) -> None:
        """Take in one more ref. One that is there already counts once.

        Raises:
            RefMisuseError: `ref` is no ref.
            SessionEndedError: the ref belongs to a session that has ended.
        """
        (ref,) = checked_refs([ref], "as_completed")
        require_usable(ref._engine, "an ObjectRef")
        with self._changed:
            if ref in self._waiting:
                return
            self._waiting.add(ref)
            self._total += 1
        ref.add_done_callback(self._note)

    def update(self, refs: Iterable[ObjectRef[T]]) -> None:
        """Take in more refs."""
        for ref in listed_refs(refs, "as_completed"):
            self.add(ref)

    def __len__(self) -> int:
        """Return how many refs are still to come."""
        with self._changed:
            return len(self._waiting) + len(self._done)

    def _note(self, ref: ObjectRef[T]) -> None:
        with self._changed:
            self._waiting.discard(ref)
            self._done.append(ref)
            self._changed.notify()
            wake, self._wake = self._wake, []
        for function in wake:
            function()

    # --- in a thread --------------------------------------------------------------------

    def __iter__(self) -> Iterator[ObjectRef[T]]:
        return self

    def __next__(self) -> ObjectRef[T]:
        """Return the next ref whose task has ended. Blocks.

        Raises:
            GetTimeoutError: the time is over; the tasks go on.
        """
        for ref in self._awaited():
            ref._engine.lend_until(self._can_tell, self._awaited, self._deadline)
            break
        with self._changed:
            while not self._done:
                if not self._waiting:
                    raise StopIteration
                remaining = self._deadline.remaining()
                if not self._changed.wait(remaining) and self._deadline.expired():
                    raise self._timeout()
            return self._done.popleft()

    def _can_tell(self) -> bool:
        return bool(self._done)

    def _awaited(self) -> Sequence[ObjectRef[T]]:
        with self._changed:
            return () if self._done else list(self._waiting)

    def _timeout(self) -> GetTimeoutError:
        described = tuple(ref._engine.describe(ref) for ref in islice(self._waiting, 10))
        late = len(self._waiting)
        return GetTimeoutError(late, self._total, self._deadline.seconds or 0.0, described)

    # --- in a coroutine -----------------------------------------------------------------

    def __aiter__(self) -> AsyncIterator[ObjectRef[T]]:
        return self

    async def __anext__(self) -> ObjectRef[T]:
        """As `__next__`, without blocking the event loop."""
        import asyncio

        loop = asyncio.get_running_loop()
        while True:
            with self._changed:
                if self._done:
                    return self._done.popleft()
                if not self._waiting:
                    raise StopAsyncIteration
                if self._deadline.expired():
                    raise self._timeout()
                arrived: asyncio.Future[None] = loop.create_future()
                self._wake.append(partial(_set, loop, arrived))
            await asyncio.wait([arrived], timeout=self._deadline.remaining())


def _set(loop: asyncio.AbstractEventLoop, arrived: asyncio.Future[None]) -> None:
    def set_result() -> None:
        if not arrived.done():
            arrived.set_result(None)

    try:
        loop.call_soon_threadsafe(set_result)
    except RuntimeError:
        return  # the loop is closed: nobody waits any more


def as_completed(refs: Iterable[ObjectRef[T]], *, timeout: float | None = None) -> AsCompleted[T]:
    """Return an iterator of refs in the order in which their tasks end.

    Args:
        refs: any iterable of refs; more can be added to the result with `add` and `update`.
        timeout: seconds from now for all of them; None waits as long as it takes.

    Raises:
        RefMisuseError: something among `refs` is no ref.
        SessionEndedError: a ref belongs to a session that has ended.
        GetTimeoutError: from the iterator, when the time is over.
    """
    return AsCompleted(refs, timeout)
