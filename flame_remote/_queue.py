"""`Queue`: a queue.Queue that lives in an actor, for use from any process of a session."""

from __future__ import annotations

import queue
from collections.abc import Iterable
from typing import Any, Generic, TypeVar, cast

from flame_remote._actor import ActorClass
from flame_remote._api import get, kill
from flame_remote._options import ActorOptions, changed
from flame_remote.runner.source import Source

T = TypeVar("T")

Empty = queue.Empty
Full = queue.Full


class _QueueActor:
    """Holds the items. Its methods are coroutines, so that any number of calls can wait."""

    def __init__(self, maxsize: int) -> None:
        import asyncio

        self._asyncio = asyncio
        self._queue: asyncio.Queue[Any] = asyncio.Queue(maxsize)

    async def put(self, item: Any, timeout: float | None) -> bool:
        if timeout == 0:
            return await self.put_several([item])
        try:
            await self._asyncio.wait_for(self._queue.put(item), timeout)
        except self._asyncio.TimeoutError:
            return False
        return True

    async def put_several(self, items: list[Any]) -> bool:
        maxsize = self._queue.maxsize
        if maxsize > 0 and self._queue.qsize() + len(items) > maxsize:
            return False
        for item in items:
            self._queue.put_nowait(item)
        return True

    async def get(self, timeout: float | None) -> tuple[bool, Any]:
        if timeout == 0:
            succeeded, items = await self.get_several(1)
            return succeeded, items[0] if succeeded else None
        try:
            return True, await self._asyncio.wait_for(self._queue.get(), timeout)
        except self._asyncio.TimeoutError:
            return False, None

    async def get_several(self, number: int) -> tuple[bool, list[Any]]:
        if number > self._queue.qsize():
            return False, []
        return True, [self._queue.get_nowait() for _ in range(number)]

    async def qsize(self) -> int:
        return self._queue.qsize()

    async def maxsize(self) -> int:
        return self._queue.maxsize


class Queue(Generic[T]):
    """First in, first out, shared by whoever has a copy: pass it to tasks and actors.

    Has the methods of `queue.Queue`, and coroutines with `_async` at the end. It lives as long as
    one of its copies does. Safe to use from any thread. On the inline engine nobody can wait, as
    there is only one thread: use the methods with `_nowait` there.
    """

    def __init__(self, maxsize: int = 0, actor_options: dict[str, Any] | None = None) -> None:
        """Make an empty queue.

        Args:
            maxsize: how many items it holds at most; 0 is any number.
            actor_options: options of the actor in which it lives; see ActorOptions.
        """
        options = changed(ActorOptions(), actor_options or {}, "a Queue's actor")
        source = Source(_QueueActor, "Queue", Source.of(_QueueActor).signature)
        self.maxsize = maxsize
        self.actor: Any = ActorClass(source, options).remote(maxsize)

    def __len__(self) -> int:
        return self.qsize()

    def qsize(self) -> int:
        """Return how many items are in the queue."""
        return int(get(self.actor.qsize.remote()))

    def empty(self) -> bool:
        """Say whether there is no item."""
        return self.qsize() == 0

    def full(self) -> bool:
        """Say whether there is no room for an item."""
        return 0 < self.maxsize <= self.qsize()

    # --- put ----------------------------------------------------------------------------

    def put(self, item: T, block: bool = True, timeout: float | None = None) -> None:
        """Add an item. Blocks while the queue is full, unless `block` is false.

        Args:
            item: anything that pickles.
            block: whether to wait for room.
            timeout: seconds to wait at most; None waits as long as it takes.

        Raises:
            Full: there is no room, or none in time.
            ValueError: `timeout` is negative.
        """
        if not get(self.actor.put.remote(item, wait_limit(block, timeout))):
            raise Full

    async def put_async(self, item: T, block: bool = True, timeout: float | None = None) -> None:
        """As `put`, without blocking the event loop."""
        if not await self.actor.put.remote(item, wait_limit(block, timeout)):
            raise Full

    def put_nowait(self, item: T) -> None:
        """Add an item; raise Full if there is no room."""
        self.put(item, block=False)

    def put_nowait_batch(self, items: Iterable[T]) -> None:
        """Add all items; raise Full, and add none, if there is no room for all."""
        items = list(items)
        if not get(self.actor.put_several.remote(items)):
            raise Full(f"there is no room for {len(items)} items; the queue holds {self.maxsize}")

    # --- get ----------------------------------------------------------------------------

    def get(self, block: bool = True, timeout: float | None = None) -> T:
        """Take the oldest item out. Blocks while there is none, unless `block` is false.

        Args:
            block: whether to wait for an item.
            timeout: seconds to wait at most; None waits as long as it takes.

        Raises:
            Empty: there is no item, or none in time.
            ValueError: `timeout` is negative.
        """
        return cast(T, _found(get(self.actor.get.remote(wait_limit(block, timeout)))))

    async def get_async(self, block: bool = True, timeout: float | None = None) -> T:
        """As `get`, without blocking the event loop."""
        return cast(T, _found(await self.actor.get.remote(wait_limit(block, timeout))))

    def get_nowait(self) -> T:
        """Take the oldest item out; raise Empty if there is none."""
        return self.get(block=False)

    def get_nowait_batch(self, number: int) -> list[T]:
        """Take out the `number` oldest items; raise Empty, and take none, if there are fewer."""
        succeeded, items = get(self.actor.get_several.remote(number))
        if not succeeded:
            raise Empty(f"there are fewer than {number} items")
        return list(items)

    # --- end ----------------------------------------------------------------------------

    def shutdown(self) -> None:
        """End the queue's actor; items that are left are lost, and whoever waits gets an error."""
        kill(self.actor)


def wait_limit(block: bool, timeout: float | None) -> float | None:
    """Return how many seconds to wait at most; None for as many as it takes."""
    if not block:
        return 0
    if timeout is not None and timeout < 0:
        raise ValueError(f"timeout must be 0 or more seconds, not {timeout}")
    return timeout


def _found(answer: tuple[bool, Any]) -> Any:
    succeeded, item = answer
    if not succeeded:
        raise Empty
    return item
