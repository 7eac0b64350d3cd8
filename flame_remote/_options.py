"""What users may set on a function, a class or one call, checked by name, type and range."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any, Final, TypedDict, TypeVar

from flame_remote._environment import Environment, checked_environment
from flame_remote._retry import ENDLESS, Retry, exception_types
from flame_remote._sizes import size_in_bytes
from flame_remote._spec import UNLIMITED, CallLimits, Demand
from flame_remote.exceptions import InvalidOptionError

if TYPE_CHECKING:
    from flame_remote._cache import Cache

O = TypeVar("O", bound="TaskOptions | ActorOptions | MethodOptions")  # noqa: E741

CONCURRENCY_OF_ASYNC_ACTORS: Final = 1000  # calls of `async def` methods interleave in one thread


class TaskOptionsDict(TypedDict, total=False):
    """The options of a function, for type checkers."""

    num_cpus: float
    num_gpus: float
    resources: Mapping[str, float]
    max_retries: int
    name: str
    num_returns: int
    retry_exceptions: bool | type[BaseException] | Iterable[type[BaseException]]
    retries: Retry | None
    timeout: float | None
    deadline: float | None
    priority: int | None
    backpressure: int | None
    max_calls: int
    cache: bool | str | os.PathLike[str] | Cache | None
    memory: int | str
    runtime_env: Mapping[str, Any] | Environment | None


class ActorOptionsDict(TypedDict, total=False):
    """The options of a class, for type checkers."""

    num_cpus: float
    num_gpus: float
    resources: Mapping[str, float]
    max_retries: int
    max_concurrency: int
    name: str
    memory: int | str
    runtime_env: Mapping[str, Any] | Environment | None


class MethodOptionsDict(TypedDict, total=False):
    """The options of a call on an actor, for type checkers."""

    name: str
    num_returns: int
    timeout: float | None
    deadline: float | None


@dataclass(frozen=True, slots=True)
class TaskOptions:
    """The options of a function. Hashable, so that services can be told apart by them.

    `num_cpus`, `num_gpus` and `resources` are taken while a call runs. `max_retries` is how often
    a call is started again when its process dies, -1 for as often as it takes. `name` stands for
    the function in messages. `num_returns` is how many refs a call returns: 1 for the value as it
    is, more for the values in a tuple, list or iterator, none for 0. `retry_exceptions` has a call
    that raises started again as often as one whose process dies: after any exception, or after
    those types. `retries` says more exactly when. `timeout` is how many seconds one attempt of a
    call may run, `deadline` how many it has from the call to its end, with all that it starts.
    Calls of a higher `priority` run first; without one, a call has that of the task that makes it.
    `backpressure` is how many items a generator may make ahead of who takes them; None for any
    number.
    A worker process ends after `max_calls` calls, for code that leaks; 0 for never.
    `cache` keeps results on disk: True, a folder, or a Cache.
    `memory` is how many bytes a call takes: it waits until they are free, and is ended with an
    OutOfMemoryError if its process grows by more; 0 for any number. `runtime_env` is the
    environment that calls run in: variables, working folder, places of modules.
    """

    num_cpus: float = 1
    num_gpus: float = 0
    resources: tuple[tuple[str, float], ...] = ()
    max_retries: int = 3
    name: str = ""
    num_returns: int = 1
    retry_exceptions: bool | tuple[type[BaseException], ...] = False
    retries: Retry | None = None
    timeout: float | None = None
    deadline: float | None = None
    priority: int | None = None
    backpressure: int | None = None
    max_calls: int = 0
    cache: Cache | None = None
    memory: int = 0
    runtime_env: Environment | None = None

    def limits(self) -> CallLimits:
        """Return what a call may take of time and memory, and how soon it is wanted."""
        limits = CallLimits(self.timeout, self.deadline, self.priority, self.max_calls, self.memory)
        return UNLIMITED if limits == UNLIMITED else limits

    def retry(self) -> Retry | None:
        """Return when a call that has raised is tried again; None for never."""
        if self.retries is not None or not self.retry_exceptions:
            return self.retries
        attempts = ENDLESS if self.max_retries < 0 else self.max_retries + 1
        types = self.retry_exceptions
        return Retry(attempts, on=Exception if isinstance(types, bool) else types)

    def amounts(self) -> dict[str, float]:
        """Return what a call takes while it runs, by the names that engines use."""
        return _amounts(self)


@dataclass(frozen=True, slots=True)
class ActorOptions:
    """The options of a class. Hashable, so that services can be told apart by them.

    `num_cpus`, `num_gpus` and `resources` are taken as long as the instance lives; an actor takes
    no CPU unless asked. `max_retries` is how often the construction is started again when its
    process dies. `max_concurrency` calls run at the same time; 0 means that the class decides:
    1, or 1000 with an `async def` method. `memory` and `runtime_env` are as in TaskOptions, for as
    long as the instance lives.
    """

    num_cpus: float = 0
    num_gpus: float = 0
    resources: tuple[tuple[str, float], ...] = ()
    max_retries: int = 0
    max_concurrency: int = 0
    name: str = ""
    memory: int = 0
    runtime_env: Environment | None = None

    def limits(self) -> CallLimits:
        """Return what the process of an instance may take."""
        return CallLimits(memory_bytes=self.memory) if self.memory else UNLIMITED

    def amounts(self) -> dict[str, float]:
        """Return what an instance takes while it lives, by the names that engines use."""
        return _amounts(self)


@dataclass(frozen=True, slots=True)
class MethodOptions:
    """The options of a call on an actor.

    `name` stands for the method in messages; `num_returns`, `timeout` and `deadline` are as in
    TaskOptions.
    """

    name: str = ""
    num_returns: int = 1
    timeout: float | None = None
    deadline: float | None = None

    def limits(self) -> CallLimits:
        """Return how long a call may take."""
        limits = CallLimits(self.timeout, self.deadline)
        return UNLIMITED if limits == UNLIMITED else limits


def _amounts(options: TaskOptions | ActorOptions) -> dict[str, float]:
    amounts = {"CPU": options.num_cpus, "GPU": options.num_gpus, **dict(options.resources)}
    if options.memory:
        amounts["memory"] = options.memory
    return amounts


def demand_of(options: TaskOptions | ActorOptions) -> Demand:
    """Return the options' resources in the scheduler's exact units."""
    return Demand.of(options.amounts())


def changed(options: O, changes: Mapping[str, Any], what: str) -> O:
    """Return `options` with `changes`, which are checked; `what` names their owner for errors.

    Raises:
        InvalidOptionError: an option is unknown or out of range.
        TypeError: an option is of the wrong type.
    """
    known = [field.name for field in fields(options)]
    for name in changes:
        if name not in known:
            raise InvalidOptionError(
                f"{what} has no option {name!r}{nearest(name, known)}; options: {', '.join(known)}"
            )
    checked = {name: _CHECKS[name](name, value) for name, value in changes.items()}
    new = replace(options, **checked)
    if isinstance(new, TaskOptions) and new.retries is not None and new.retry_exceptions:
        raise InvalidOptionError(
            f"{what} has both retries and retry_exceptions: Retry(..., on=...) says the same"
        )
    return new


def nearest(name: str, known: Iterable[str]) -> str:
    """Return " (did you mean 'x'?)" for the known name nearest to `name`, "" if none is near."""
    import difflib  # only needed for an error

    near = difflib.get_close_matches(name, list(known), n=1)
    return f" (did you mean {near[0]!r}?)" if near else ""


# --- values ---------------------------------------------------------------------------------------


def whole_number(name: str, value: object, *, at_least: int) -> int:
    """Check an option that is a whole number."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{name} must be a whole number, not {_shown(value)}")
    if value < at_least:
        raise InvalidOptionError(f"{name} must be {at_least} or more, not {value!r}")
    return value


def amount(name: str, value: object) -> float:
    """Check an option that is an amount of a resource: a finite number, 0 or more."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError(f"{name} must be a number, not {_shown(value)}")
    if not 0 <= value < math.inf:
        raise InvalidOptionError(f"{name} must be 0 or more, not {value!r}")
    return value


def byte_count(name: str, value: object) -> int:
    """Check an option that is a number of bytes, or a size such as "512m" or "2g"."""
    if isinstance(value, bool) or not isinstance(value, (int, str)):
        raise TypeError(f"{name} must be bytes or a size such as '512m', not {_shown(value)}")
    size = size_in_bytes(value) if isinstance(value, str) else value
    if size is None or size < 0:
        raise InvalidOptionError(
            f"{name} must be bytes or a size such as '512m' or '2g', not {value!r}"
        )
    return size


def _gpus(name: str, value: object) -> float:
    number = amount(name, value)
    if number > 1 and number != int(number):
        raise InvalidOptionError(
            f"{name} must be a whole number, or less than 1 for a part of one GPU, not {value!r}"
        )
    return number


def resource_amounts(value: object, name: str = "resources") -> tuple[tuple[str, float], ...]:
    """Check the user's own resources; return them sorted by name."""
    if not isinstance(value, Mapping):
        raise TypeError(f"{name} must be a dict such as {{'license': 1}}, not {_shown(value)}")
    for key in value:
        if not isinstance(key, str):
            raise TypeError(f"{name} must have names as keys, not {_shown(key)}")
        if key in ("CPU", "GPU"):
            raise InvalidOptionError(f"{name} must not name {key!r}: use num_{key.lower()}s")
    return tuple((key, amount(f"{name}[{key!r}]", value[key])) for key in sorted(value))


def _retries(name: str, value: object) -> int:
    return whole_number(name, value, at_least=-1)


def _return_count(name: str, value: object) -> int:
    return whole_number(name, value, at_least=0)


def _retried(name: str, value: object) -> bool | tuple[type[BaseException], ...]:
    return value if isinstance(value, bool) else exception_types(name, value)


def _retry(name: str, value: object) -> Retry | None:
    if value is None or isinstance(value, Retry):
        return value
    raise TypeError(f"{name} must be a flame.Retry, e.g. Retry(3, delay=0.1), not {_shown(value)}")


def _seconds(name: str, value: object) -> float | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError(f"{name} must be a number of seconds or None, not {_shown(value)}")
    if not 0 < value < math.inf:
        raise InvalidOptionError(f"{name} must be more than 0 seconds, not {value!r}")
    return value


def _priority(name: str, value: object) -> int | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{name} must be a whole number or None, not {_shown(value)}")
    return value


def _call_count(name: str, value: object) -> int:
    return whole_number(name, value, at_least=0)


def _backpressure(name: str, value: object) -> int | None:
    return None if value is None else whole_number(name, value, at_least=1)


def _cache(name: str, value: object) -> Cache | None:
    from flame_remote._cache import checked_cache  # few functions have one

    return checked_cache(name, value)


def _concurrency(name: str, value: object) -> int:
    return whole_number(name, value, at_least=1)


def _name(name: str, value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{name} must be a string, not {_shown(value)}")
    if not value:
        raise InvalidOptionError(f"{name} must not be empty")
    return value


def _shown(value: object) -> str:
    return f"{type(value).__name__} ({value!r:.50})"


_CHECKS: Final[Mapping[str, Callable[[str, object], Any]]] = {
    "cache": _cache,
    "num_cpus": amount,
    "num_gpus": _gpus,
    "memory": byte_count,
    "runtime_env": checked_environment,
    "resources": lambda name, value: resource_amounts(value, name),
    "max_retries": _retries,
    "max_concurrency": _concurrency,
    "name": _name,
    "num_returns": _return_count,
    "retry_exceptions": _retried,
    "retries": _retry,
    "timeout": _seconds,
    "deadline": _seconds,
    "priority": _priority,
    "backpressure": _backpressure,
    "max_calls": _call_count,
}
