"""A value that becomes several objects, or none: what `num_returns` asks for."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sized
from itertools import islice
from typing import Any

from flame_remote.exceptions import ReturnCountError

from .call import is_coroutine
from .text import type_name


class Several:
    """The values that a call has returned, each to be kept by itself; or why they are not these."""

    __slots__ = ("error", "values")

    def __init__(self, values: tuple[Any, ...], error: ReturnCountError | None = None) -> None:
        self.values = values
        self.error = error


class TakenApart:
    """A function whose value is taken apart: calls return `Several`, of exactly `count` values.

    Of 0 values it takes none: whatever the function returns is dropped. Constant after
    construction.
    """

    def __init__(self, function: Callable[..., Any], count: int, name: str) -> None:
        """`name` stands for the function in errors."""
        self.__wrapped__ = function
        self._function = function
        self._count = count
        self._name = name

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call the function. Raises what it raises; another number of values is no exception."""
        value = self._function(*args, **kwargs)
        if is_coroutine(value):
            return self._take_apart_later(value)
        return self._take_apart(value)

    async def _take_apart_later(self, coroutine: Any) -> Several:
        return self._take_apart(await coroutine)

    def _take_apart(self, value: object) -> Several:
        if not self._count:
            return Several(())
        # What has a length but no order is not meant; a string is one value.
        if not isinstance(value, Iterable) or isinstance(
            value, (str, bytes, bytearray, Mapping, set, frozenset)
        ):
            return self._wrong(f"one {type_name(type(value))}")
        # Of a generator no more is taken than it takes to see that there is too much.
        values = tuple(islice(value, self._count + 1))
        if len(values) < self._count:
            return self._wrong(_values(len(values)))
        if len(values) > self._count:
            number = len(value) if isinstance(value, Sized) else 0
            came = _values(number) if number else f"more than {self._count}"
            return self._wrong(came)
        return Several(values)

    def _wrong(self, came: str) -> Several:
        return Several((), ReturnCountError(self._name, self._count, came))


def _values(number: int) -> str:
    return f"{number} value" if number == 1 else f"{number} values"
