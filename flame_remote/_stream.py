"""ObjectRefGenerator: the items of a generator that runs in a worker, as they are made."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from functools import partial
from typing import Any, Generic, NoReturn, TypeVar

from flame_remote._deadline import NEVER
from flame_remote._far_ends import FarEnd
from flame_remote._near_end import NearEnd
from flame_remote._refs import ObjectRef

T = TypeVar("T")


class ObjectRefGenerator(Generic[T]):
    """The refs of a generator's items, in order, each as soon as its item is made.

    Iterate with `for` or `async for`. An exception of the generator is raised by the last ref. The
    generator runs ahead of who iterates, by `backpressure` items if that was given; it ends when
    this object is closed or gone. Safe to use from any thread; several may share one, and each item
    comes to one of them. Stays in the process that made it: pass on refs.
    """

    def __init__(self, far: FarEnd, ahead: int | None) -> None:
        """Take over the far end of an iteration."""
        self._near = NearEnd(far, ahead)

    def __del__(self) -> None:
        near = getattr(self, "_near", None)
        if near is not None:
            near.abandon()

    # --- refs ---------------------------------------------------------------------------

    def __iter__(self) -> Iterator[ObjectRef[T]]:
        return self

    def __next__(self) -> ObjectRef[T]:
        """Wait until an item is there, or the generator has ended; return the item's ref."""
        while (step := self._near.first()) is not None:
            step.there._engine.wait([step.there], 1, NEVER)
            if (item := self._near.take(step)) is not None:
                return item
        raise StopIteration

    def __aiter__(self) -> AsyncIterator[ObjectRef[T]]:
        return self

    async def __anext__(self) -> ObjectRef[T]:
        """As `__next__`, without blocking the running event loop."""
        import asyncio

        while (step := self._near.first()) is not None:
            loop = asyncio.get_running_loop()
            arrived = asyncio.Event()
            step.there.add_done_callback(partial(_wake, loop, arrived))
            await arrived.wait()
            if (item := self._near.take(step)) is not None:
                return item
        raise StopAsyncIteration

    # --- values -------------------------------------------------------------------------

    def values(self) -> Values[T]:
        """Return the items themselves in place of their refs, for `for` or `async for`."""
        return Values(self)

    # --- the generator ------------------------------------------------------------------

    def completed(self) -> ObjectRef[None]:
        """Have the generator run to its end; return a ref that is there when it has.

        Whatever `backpressure` says. Its error is that of the generator.
        """
        return self._near.run_out()

    def next_ready(self) -> bool:
        """Say whether `next()` would return, or end, at once. Does not block."""
        step = self._near.first()
        return step is None or step.there.done()

    def is_finished(self) -> bool:
        """Say whether all items have been taken. Does not block."""
        return self._near.first() is None

    def close(self) -> None:
        """End the generator; items that were not taken are gone. May be called twice."""
        self._near.close()

    def __repr__(self) -> str:
        return f"<ObjectRefGenerator of {self._near.name}()>"

    def __reduce__(self) -> NoReturn:
        raise TypeError(
            f"{self!r} cannot be passed on: it stays where it was made; pass the refs that it gives"
        )

    def _flame_next_ref(self) -> ObjectRef[Any] | None:
        """Return the ref to wait for in place of this one; None if there is nothing to wait for."""
        step = self._near.first()
        return None if step is None else step.there


class Values(Generic[T]):
    """The items of a generator that runs in a worker; iterate with `for` or `async for`."""

    def __init__(self, refs: ObjectRefGenerator[T]) -> None:
        self._refs = refs

    def __iter__(self) -> Iterator[T]:
        return self

    def __next__(self) -> T:
        return next(self._refs).get()

    def __aiter__(self) -> AsyncIterator[T]:
        return self

    async def __anext__(self) -> T:
        return await (await self._refs.__anext__())


def _wake(loop: Any, arrived: Any, ref: object) -> None:
    try:
        loop.call_soon_threadsafe(arrived.set)
    except RuntimeError:
        return  # the loop is closed: nobody waits any more
