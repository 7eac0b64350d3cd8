"""Retry: when a call that has raised is tried again, and how soon."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from flame_remote.exceptions import InvalidOptionError

ENDLESS: Final = -1


@dataclass(frozen=True, slots=True, init=False)
class Retry:
    """When a call that raises is tried again. Hashable, and constant after construction.

    `@flame.remote(retries=flame.Retry(5, on=OSError, delay=0.1))`. A crash of the process is no
    matter of this: see `max_retries`.
    """

    attempts: int
    on: tuple[type[BaseException], ...]
    delay: float
    factor: float
    max_delay: float
    jitter: float
    when: Callable[[BaseException], object] | None

    def __init__(
        self,
        attempts: int = 3,
        *,
        on: type[BaseException] | tuple[type[BaseException], ...] = Exception,
        delay: float = 0.0,
        factor: float = 2.0,
        max_delay: float = 60.0,
        jitter: float = 0.0,
        when: Callable[[Any], object] | None = None,
    ) -> None:
        """Say how often and when.

        Args:
            attempts: how often the call is started in all, 1 or more; -1 for as often as it takes.
            on: the type, or tuple of types, of the exceptions after which it is tried again.
            delay: seconds between the first attempt and the second.
            factor: how many times longer each further pause is than the one before.
            max_delay: seconds that a pause takes at most.
            jitter: by which share of itself a pause may be longer or shorter, 0 to 1: so that many
                calls that fail together do not come back together.
            when: called in the worker with the exception; what it returns says whether to try
                again.

        Raises:
            InvalidOptionError: a value is out of range.
            TypeError: a value is of the wrong type.
        """
        if isinstance(attempts, bool) or not isinstance(attempts, int):
            raise TypeError(f"Retry: attempts must be a whole number, not {_shown(attempts)}")
        if attempts < 1 and attempts != ENDLESS:
            raise InvalidOptionError(f"Retry: attempts must be 1 or more, or -1, not {attempts!r}")
        if when is not None and not callable(when):
            raise TypeError(f"Retry: when must be a function of an exception, not {_shown(when)}")
        pairs = {
            "attempts": attempts,
            "on": exception_types("Retry: on", on),
            "delay": _seconds("delay", delay, 0.0),
            "factor": _seconds("factor", factor, 1.0),
            "max_delay": _seconds("max_delay", max_delay, 0.0),
            "jitter": _seconds("jitter", jitter, 0.0, 1.0),
            "when": when,
        }
        for name, value in pairs.items():
            object.__setattr__(self, name, value)

    def wants(self, error: BaseException, number: int) -> bool:
        """Say whether to try again after the attempt of that number, counted from 1.

        Runs the user's `when`, and raises what that raises.
        """
        if 0 < self.attempts <= number or not isinstance(error, self.on):
            return False
        return self.when is None or bool(self.when(error))

    def delay_after(self, number: int, chance: float) -> float:
        """Return for how many seconds to pause after an attempt; `chance` lies from 0 to 1."""
        try:
            pause = self.delay * self.factor ** (number - 1)
        except OverflowError:
            pause = math.inf
        pause *= 1 + self.jitter * (2 * chance - 1)
        return min(pause, self.max_delay) if self.delay else 0.0


def exception_types(name: str, value: object) -> tuple[type[BaseException], ...]:
    """Check a type of exceptions, or a tuple or list of them; return a tuple."""
    types: list[type[BaseException]] = []
    for one in value if isinstance(value, (tuple, list)) else (value,):
        if not (isinstance(one, type) and issubclass(one, BaseException)):
            raise TypeError(f"{name} must be one or more types of exceptions, not {_shown(one)}")
        types.append(one)
    return tuple(types)


def _seconds(name: str, value: object, least: float, most: float = math.inf) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError(f"Retry: {name} must be a number, not {_shown(value)}")
    if not least <= value <= most or value == math.inf:
        bound = f"{least:g} or more" if most == math.inf else f"{least:g} to {most:g}"
        raise InvalidOptionError(f"Retry: {name} must be {bound}, not {value!r}")
    return float(value)


def _shown(value: object) -> str:
    return f"{type(value).__name__} ({value!r:.50})"
