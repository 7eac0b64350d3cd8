"""Methods of actors that are generators: their items as refs, as they are made.

The instance keeps the iteration, and each item is a call of its own, asked for a few items ahead.
So other calls of the actor come in between two items, where in Ray they wait for the last.
"""

from __future__ import annotations

import inspect
import uuid
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any, Final

import flame_remote as flame

ITEMS: Final = "items"  # among a method's options: it is a generator
_AHEAD: Final = 8  # items that are asked for before they are wanted

# In the instance's process: the iterations under way. Each is used by one call at a time.
_iterations: Final[dict[str, Any]] = {}
# Where generators are used: what ends an iteration that nobody wants any more. Finalisers append.
_dropped: Final[deque[Callable[[], object]]] = deque()


# --- in the instance's process --------------------------------------------------------------------


def prepare(cls: type) -> None:
    """Give a class what its generator methods need, if it has any."""
    methods = [method for _, method in inspect.getmembers(cls, callable)]
    if any(map(inspect.isasyncgenfunction, methods)):
        setattr(cls, "_ray_async_item", _next_async)  # noqa: B010
    elif any(map(inspect.isgeneratorfunction, methods)):
        setattr(cls, "_ray_item", _next)  # noqa: B010
    else:
        return
    setattr(cls, "_ray_begin", _begin)  # noqa: B010
    setattr(cls, "_ray_end", _end)  # noqa: B010


def _begin(self: object, number: str, name: str, /, *args: Any, **kwargs: Any) -> None:
    _iterations[number] = getattr(self, name)(*args, **kwargs)


def _next(self: object, number: str) -> tuple[bool, Any]:
    for item in _iterations.get(number, ()):
        return True, item
    _iterations.pop(number, None)
    return False, None


async def _next_async(self: object, number: str) -> tuple[bool, Any]:
    items = _iterations.get(number, ())
    if not hasattr(items, "__anext__"):  # a plain generator, in a class with async ones
        return _next(self, number)
    async for item in items:
        return True, item
    _iterations.pop(number, None)
    return False, None


def _end(self: object, number: str) -> None:
    _iterations.pop(number, None)


# --- where it is called ---------------------------------------------------------------------------


class GeneratorMethod:
    """What `.remote` of a generator method is. Constant after construction."""

    def __init__(self, handle: Any, name: str, ahead: int | None) -> None:
        self._handle = handle
        self._name = name
        self._ahead = ahead or _AHEAD

    def remote(self, *args: Any, **kwargs: Any) -> MethodItems:
        """Begin an iteration; return a generator of refs at once."""
        while _dropped:
            _dropped.popleft()()
        number = uuid.uuid4().hex
        begun = self._handle._ray_begin.remote(number, self._name, *args, **kwargs)
        return MethodItems(self._handle, self._name, number, begun, self._ahead)


class MethodItems(flame.ObjectRefGenerator[Any]):
    """The refs of the items that a method yields. Use from one thread."""

    def __init__(
        self, handle: Any, name: str, number: str, begun: flame.ObjectRef[Any], ahead: int
    ) -> None:
        known = dir(handle)
        item = handle._ray_async_item if "_ray_async_item" in known else handle._ray_item
        self._item = item.options(num_returns=2, name=name)
        # Items of an event loop's generator are made one by one; so is the first, after `begun`.
        self._ahead = 1 if "_ray_async_item" in known else ahead
        self._end = handle._ray_end
        self._name = name
        self._number = number
        self._begun: flame.ObjectRef[Any] | None = begun
        self._steps: deque[Any] = deque()
        self._has_ended = False
        self._ask()

    def __del__(self) -> None:
        if not getattr(self, "_has_ended", True):
            end, number = self._end, self._number
            _dropped.append(lambda: end.remote(number))

    def __next__(self) -> flame.ObjectRef[Any]:
        self._ask()
        if self._steps:
            flame.wait([self._steps[0][0]])
            if (ref := self._taken()) is not None:
                return ref
        raise StopIteration

    async def __anext__(self) -> flame.ObjectRef[Any]:
        import asyncio

        self._ask()
        if self._steps:
            await asyncio.wait([asyncio.wrap_future(self._steps[0][0].future())])
            if (ref := self._taken()) is not None:
                return ref
        raise StopAsyncIteration

    def __iter__(self) -> Iterator[flame.ObjectRef[Any]]:
        return self

    def __aiter__(self) -> AsyncIterator[flame.ObjectRef[Any]]:
        return self

    def _ask(self) -> None:
        while not self._has_ended and len(self._steps) < self._ahead:
            self._steps.append(tuple(self._item.remote(self._number)))

    def _taken(self) -> flame.ObjectRef[Any] | None:
        there: flame.ObjectRef[Any]
        item: flame.ObjectRef[Any]
        there, item = self._steps.popleft()
        error = there.exception()
        if error is None and there.get():
            return item
        self._has_ended = True
        self._steps.clear()
        begun, self._begun = self._begun, None
        if error is None and begun is not None and begun.exception() is not None:
            return begun  # the arguments did not fit: its error is the one item
        return None if error is None else item

    def next_ready(self) -> bool:
        """Say whether `next()` would return, or end, at once."""
        self._ask()
        return not self._steps or self._steps[0][0].done()

    def is_finished(self) -> bool:
        """Say whether all items have been taken."""
        return self._has_ended

    def completed(self) -> flame.ObjectRef[Any]:
        """Refuse: items of methods are made as they are wanted."""
        raise NotImplementedError(
            f"completed() of the generator method {self._name}() cannot be had: its items are made "
            "as they are wanted"
        )

    def close(self) -> None:
        """End the iteration. May be called twice."""
        if not self._has_ended:
            self._has_ended = True
            self._steps.clear()
            self._end.remote(self._number)

    def __repr__(self) -> str:
        return f"<ObjectRefGenerator of {self._name}()>"

    def _flame_next_ref(self) -> flame.ObjectRef[Any] | None:
        self._ask()
        return self._steps[0][0] if self._steps else None
