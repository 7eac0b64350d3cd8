"""Functions that are tried again when they raise: who decides, and what the last error says."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from contextvars import ContextVar
from typing import Any, Final

from flame_remote._retry import Retry

from .call import is_coroutine
from .task_error import user_class
from .text import message_of, shorten, type_name

_MESSAGE_LIMIT: Final = 500  # of what is said of an attempt
_SHOWN: Final = 20  # attempts that the last error lists; of more the first and the last

# Which attempt the running code is, counted from 1; follows into coroutines.
attempt: Final[ContextVar[int]] = ContextVar("flame_attempt", default=1)


class Again:
    """What a call returns in place of a value when it has failed and is to be tried again."""

    __slots__ = ("delay", "failure")

    def __init__(self, delay: float, failure: str) -> None:
        self.delay = delay  # seconds until then
        self.failure = failure  # one line about it


class Attempts:
    """A function that may be tried again. Travels as code. Constant after construction.

    A call is one attempt; that of a failed one returns `Again`. `place` stands for the function in
    a pickle, where it travels by name.
    """

    def __init__(
        self, function: Callable[..., Any], retry: Retry, name: str, place: object = None
    ) -> None:
        self.__wrapped__ = function
        self.__name__ = name
        self.retry = retry
        self._place = place

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call the function for the first time."""
        return self.numbered(1, ())(*args, **kwargs)

    def numbered(
        self, number: int, earlier: Sequence[str], function: Callable[..., Any] | None = None
    ) -> Callable[..., Any]:
        """Return what makes the attempt of that number, counted from 1, after the `earlier` ones.

        `function` is what is called in place of the function, if that is wrapped.
        """
        return _Attempt(self, number, tuple(earlier), function or self.__wrapped__)

    def in_place(
        self, function: Callable[..., Any] | None = None, deadline: float = math.inf
    ) -> Callable[..., Any]:
        """Return what makes all attempts, one after the other; it sleeps between them.

        For engines that cannot do something else meanwhile. All attempts get the same arguments.
        None begins after `deadline`, on time.monotonic(): then it returns the last `Again`.
        """
        return _AllAttempts(self, function or self.__wrapped__, deadline)

    def decide(self, error: BaseException, number: int, earlier: Sequence[str]) -> Again | None:
        """Say whether to try again after an error; if not, note in it what came before.

        Runs the user's `when`, and raises what that raises.
        """
        line = f"attempt {number}: {type_name(user_class(error))}"
        message = message_of(error, _MESSAGE_LIMIT)
        line = shorten(f"{line}: {message}" if message else line, _MESSAGE_LIMIT)
        if self.retry.wants(error, number):
            import random  # costs milliseconds: only for who needs it

            return Again(self.retry.delay_after(number, random.SystemRandom().random()), line)
        if earlier:
            _note(error, [*earlier, line], self.retry)
        return None

    def __reduce__(self) -> tuple[Any, ...]:
        return Attempts, (self._place or self.__wrapped__, self.retry, self.__name__)


class _Attempt:
    """One attempt, as a function."""

    def __init__(
        self,
        attempts: Attempts,
        number: int,
        earlier: tuple[str, ...],
        function: Callable[..., Any],
    ) -> None:
        self.__wrapped__ = attempts.__wrapped__
        self._attempts = attempts
        self._number = number
        self._earlier = earlier
        self._function = function

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        before = attempt.set(self._number)
        try:
            value = self._function(*args, **kwargs)
        except Exception as error:
            again = self._attempts.decide(error, self._number, self._earlier)
            if again is None:
                raise
            return again
        finally:
            attempt.reset(before)
        return self._awaited(value) if is_coroutine(value) else value

    async def _awaited(self, coroutine: Any) -> Any:
        attempt.set(self._number)
        try:
            return await coroutine
        except Exception as error:
            again = self._attempts.decide(error, self._number, self._earlier)
            if again is None:
                raise
            return again


class _AllAttempts:
    """All attempts, as a function."""

    def __init__(self, attempts: Attempts, function: Callable[..., Any], deadline: float) -> None:
        self.__wrapped__ = attempts.__wrapped__
        self._attempts = attempts
        self._function = function
        self._deadline = deadline

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        earlier: list[str] = []
        while True:
            one = self._attempts.numbered(len(earlier) + 1, earlier, self._function)
            value = one(*args, **kwargs)
            if is_coroutine(value):
                return self._awaited(value, args, kwargs)
            if type(value) is not Again:
                return value
            earlier.append(value.failure)
            time.sleep(self._pause(value))
            if time.monotonic() >= self._deadline:
                return value

    async def _awaited(self, coroutine: Any, args: Any, kwargs: Any) -> Any:
        import asyncio

        earlier: list[str] = []
        while type(value := await coroutine) is Again:
            earlier.append(value.failure)
            await asyncio.sleep(self._pause(value))
            if time.monotonic() >= self._deadline:
                break
            one = self._attempts.numbered(len(earlier) + 1, earlier, self._function)
            coroutine = one(*args, **kwargs)
        return value

    def _pause(self, again: Again) -> float:
        return max(0.0, min(again.delay, self._deadline - time.monotonic()))


def _note(error: BaseException, lines: list[str], retry: Retry) -> None:
    """Write into an error, as notes, which attempts there have been."""
    if len(lines) > _SHOWN:
        left_out = len(lines) - _SHOWN
        half = _SHOWN // 2
        lines = [*lines[:half], f"... [{left_out} more]", *lines[-half:]]
    notes = list(error.__dict__.get("__notes__", ()))
    error.__dict__["__notes__"] = [*notes, *lines]
