"""Generators that the methods of an instance have begun: their items are calls of their own."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any, Final

from .producing import AsyncProducer, Producer, Step

# Between what is to be done and the name of the generator method, in the name of a call's target.
# No method has it in its name.
_MARK: Final = ":"
BEGIN: Final = "begin"
STEP: Final = "step"
RUN_OUT: Final = "run_out"
CLOSE: Final = "close"
# The keyword by which a call that begins an iteration gives its number; no parameter is called so.
NUMBER: Final = "flame iteration"


def call_name(verb: str, method: str) -> str:
    """Return what is called on an instance to begin, go on with or end an iteration."""
    return f"{verb}{_MARK}{method}"


def method_in(name: str) -> str:
    """Return the method's name in what is called on an instance."""
    return name.rpartition(_MARK)[2]


def is_of_iteration(name: str) -> bool:
    """Say whether what is called on an instance is no method, but something with an iteration."""
    return _MARK in name


class Iterations:
    """What the generator methods of one instance have begun, by the numbers that callers gave.

    Other calls of the instance run between the items. Any thread: no two calls of one iteration
    are sent at a time where calls run in threads.
    """

    def __init__(self) -> None:
        self._begun: dict[int, Producer | AsyncProducer] = {}

    def find(self, instance: Any, name: str) -> Callable[..., Any]:
        """Return a method of the instance, or what does something with an iteration of one."""
        verb, mark, method = name.partition(_MARK)
        if not mark:
            return getattr(instance, name)  # type: ignore[no-any-return]
        if verb == BEGIN:
            return partial(self._begin, getattr(instance, method))
        return {STEP: self._step, RUN_OUT: self._run_out, CLOSE: self._close}[verb]

    def clear(self) -> None:
        """Let go of all generators; each is closed as it goes."""
        self._begun.clear()

    def _begin(self, method: Callable[..., Any], /, *args: Any, **kwargs: Any) -> None:
        number = kwargs.pop(NUMBER)
        items = method(*args, **kwargs)
        is_async = hasattr(items, "__anext__")
        self._begun[number] = AsyncProducer(items) if is_async else Producer(iter(items))

    # Each takes, second, the result of the call that it must not overtake, if there is one: if that
    # failed, so does this.

    def _step(self, number: int, earlier: object = None) -> Any:
        producer = self._begun.get(number)
        if producer is None:
            return False, None
        if isinstance(producer, AsyncProducer):
            return self._step_later(number, producer)
        try:
            there, item = producer.step()
        finally:
            if number not in self._begun:
                producer.close()  # what wanted to do so came while it ran, in another thread
        self._forget_if_ended(number, there, producer)
        return there, item

    async def _step_later(self, number: int, producer: AsyncProducer) -> Step:
        there, item = await producer.step()
        self._forget_if_ended(number, there, producer)
        return there, item

    def _forget_if_ended(
        self, number: int, there: bool, producer: Producer | AsyncProducer
    ) -> None:
        if not there and not producer.has_failed:  # else `run_out` may still want to know
            self._begun.pop(number, None)

    def _run_out(self, number: int, earlier: object = None) -> Any:
        producer = self._begun.get(number)
        return None if producer is None else producer.run_out()

    def _close(self, number: int) -> Any:
        producer = self._begun.pop(number, None)
        if producer is None:
            return None
        if isinstance(producer, AsyncProducer):
            return producer.close()
        with suppress(ValueError):  # it runs, in another thread: `_step` sees that it is gone
            producer.close()
        return None
