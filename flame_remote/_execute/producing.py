"""A generator that runs where its items are asked for one by one: the far end of a stream."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Generator, Iterator
from inspect import CO_ASYNC_GENERATOR, CO_GENERATOR
from typing import Any

# What a step returns: whether there is another item, and the item.
Step = tuple[bool, Any]
_END: Step = (False, None)


def makes_items(function: object) -> bool:
    """Say whether a function is a generator function, plain or async."""
    code = getattr(function, "__code__", None)
    return code is not None and bool(code.co_flags & (CO_GENERATOR | CO_ASYNC_GENERATOR))


class Producing:
    """A generator function as a class to engines: to call it begins one iteration.

    `place` stands for the function in a pickle, where it travels by name. Constant after
    construction.
    """

    def __init__(self, function: Callable[..., Any], name: str, place: object = None) -> None:
        self.__wrapped__ = function
        self.__name__ = name
        self._place = place

    @staticmethod
    def of(function: Callable[..., Any], name: str, place: object) -> Producing:
        """Return the class that a generator function is."""
        code = getattr(function, "__code__", None)
        is_async = code is not None and code.co_flags & CO_ASYNC_GENERATOR
        return (AsyncProducing if is_async else Producing)(function, name, place)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Begin an iteration; nothing of the function runs yet."""
        return Producer(self.__wrapped__(*args, **kwargs))

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self._place or self.__wrapped__, self.__name__)


class AsyncProducing(Producing):
    """As Producing, of an async generator function."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Begin an iteration; nothing of the function runs yet."""
        return AsyncProducer(self.__wrapped__(*args, **kwargs))

    async def step(self) -> None:
        """Not called: by this, engines see that the instance has coroutines for methods."""


class Producer:
    """One iteration. One call at a time."""

    def __init__(self, items: Iterator[Any]) -> None:
        self._items = items
        self._ahead: deque[Any] = deque()  # made by run_out, and not asked for yet
        self._error: Exception | None = None  # with which it has ended, not told by a step yet
        self._failure: Exception | None = None  # with which it has ended

    def step(self) -> Step:
        """Make one item. Raises what the generator raises; after that there are no more."""
        if self._ahead:
            return True, self._ahead.popleft()
        if self._error is not None:
            error, self._error = self._error, None
            raise error
        try:
            for item in self._items:
                return True, item
        except Exception as error:
            self._failure = error
            raise
        return _END

    def run_out(self) -> None:
        """Make all items that are left; keep them here. Raises what the generator raises."""
        if self._failure is None:
            try:
                self._ahead.extend(self._items)
            except Exception as error:
                self._error = self._failure = error
        if self._failure is not None:
            raise self._failure

    @property
    def has_failed(self) -> bool:
        """Whether the generator has ended with an error."""
        return self._failure is not None

    def close(self) -> None:
        """Have the generator clean up and make no more items. Raises ValueError while it runs."""
        self._ahead.clear()
        if isinstance(self._items, Generator):
            self._items.close()


class AsyncProducer:
    """As Producer, of an async generator. Calls may come while one runs."""

    def __init__(self, items: AsyncIterator[Any]) -> None:
        import asyncio

        self._items = items
        self._turn = asyncio.Lock()
        self._ahead: deque[Any] = deque()
        self._error: Exception | None = None
        self._failure: Exception | None = None

    async def step(self) -> Step:
        """Make one item. Raises what the generator raises; after that there are no more."""
        async with self._turn:
            if self._ahead:
                return True, self._ahead.popleft()
            if self._error is not None:
                error, self._error = self._error, None
                raise error
            try:
                async for item in self._items:
                    return True, item
            except Exception as error:
                self._failure = error
                raise
            return _END

    async def run_out(self) -> None:
        """Make all items that are left; keep them here. Raises what the generator raises."""
        async with self._turn:
            if self._failure is None:
                try:
                    async for item in self._items:
                        self._ahead.append(item)
                except Exception as error:
                    self._error = self._failure = error
            if self._failure is not None:
                raise self._failure

    @property
    def has_failed(self) -> bool:
        """Whether the generator has ended with an error."""
        return self._failure is not None

    async def close(self) -> None:
        """Have the generator clean up and make no more items."""
        async with self._turn:
            self._ahead.clear()
            if isinstance(self._items, AsyncGenerator):
                await self._items.aclose()
