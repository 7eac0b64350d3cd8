"""One function called for many items, in one task: what the worker does for `fn.map`."""

from __future__ import annotations

import inspect
import os
import time
from collections.abc import Callable, Iterable
from typing import Any

from flame_remote import _current

from .coroutines import run_coroutine
from .failure import encode_failure


class Chunk:
    """A function as a task that calls it once for each row of arguments.

    `place` stands for the function in a pickle, where it travels by name. Constant after
    construction.
    """

    def __init__(self, function: Callable[..., Any], name: str, place: object = None) -> None:
        self.__name__ = name
        self._function = function
        self._place = place

    def __call__(
        self, rows: Iterable[Any], star: bool
    ) -> tuple[float, list[Any], list[tuple[int, bytes]]]:
        """Call the function for each row, in order; a call that fails does not stop the others.

        Args:
            rows: one argument each; with `star` a tuple of arguments each.

        Returns:
            `(seconds, values, failures)`: how long it took in all, a value for each row (None
            where the call failed), and the place and the encoded error of each that failed.
        """
        call = self._callable(star)
        values: list[Any] = []
        failures: list[tuple[int, bytes]] = []
        append = values.append
        started = time.perf_counter()
        rows = iter(rows)
        while True:
            try:
                for row in rows:
                    append(call(row))
            except Exception as error:
                failures.append((len(values), self._encoded(error)))
                append(None)
            else:
                return time.perf_counter() - started, values, failures

    def _callable(self, star: bool) -> Callable[[Any], Any]:
        function = self._function
        if inspect.iscoroutinefunction(function):
            return lambda row: _awaited(function(*row) if star else function(row))
        if star:
            return lambda row: function(*row)
        return function

    def _encoded(self, error: Exception) -> bytes:
        engine = _current.engine
        task = 0 if engine is None else engine.current_task()
        return encode_failure(error, self.__name__, task, os.getpid())

    def __reduce__(self) -> tuple[Any, ...]:
        return Chunk, (self._place or self._function, self.__name__)


def _awaited(coroutine: Any) -> Any:
    succeeded, value = run_coroutine(coroutine)
    if not succeeded:
        raise value
    return value
