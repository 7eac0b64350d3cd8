"""What users may set on a function, a class or one call."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any, Final, TypedDict, TypeVar

from flame_remote._environment import Environment
from flame_remote._option_checks import CHECKS
from flame_remote._retry import ENDLESS, Retry
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
    namespace: str
    get_if_exists: bool
    lifetime: str | None
    max_restarts: int
    max_task_retries: int
    checkpoint_every: int
    concurrency_groups: Mapping[str, int]
    max_pending_calls: int | None
    replicas: int | tuple[int, int]


class MethodOptionsDict(TypedDict, total=False):
    """The options of a call on an actor, for type checkers."""

    name: str
    num_returns: int
    timeout: float | None
    deadline: float | None
    max_task_retries: int
    concurrency_group: str
    backpressure: int | None


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

    `name` stands for the instance in messages, and `get_actor` finds it by that, in a `namespace`,
    as long as it lives; of two at a time the second raises, or with `get_if_exists` is the first.
    `lifetime="detached"` lets it live on without handles, until the session ends. If its process
    dies it is constructed again up to `max_restarts` times, -1 for as often as it takes; of the
    calls that had begun then those run again that were lost no more than `max_task_retries` times.
    Of a class with `__flame_checkpoint__` the state is kept after each `checkpoint_every` calls.

    Calls in one of the `concurrency_groups` have a limit of
    their own, and wait for nobody in another. At most `max_pending_calls` calls made through one
    handle are under way or wait, -1 for any number. A handle stands for `replicas` instances, each
    with a state of its own, or for the first number at first and more as calls need them, up to the
    second; each call goes to the one with the least to do.
    """

    num_cpus: float = 0
    num_gpus: float = 0
    resources: tuple[tuple[str, float], ...] = ()
    max_retries: int = 0
    max_concurrency: int = 0
    name: str = ""
    memory: int = 0
    runtime_env: Environment | None = None
    namespace: str = ""
    get_if_exists: bool = False
    lifetime: str | None = None
    max_restarts: int = 0
    max_task_retries: int = 0
    checkpoint_every: int = 0
    concurrency_groups: tuple[tuple[str, int], ...] = ()
    max_pending_calls: int = -1
    replicas: tuple[int, int] = (1, 1)

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
    TaskOptions, and so is `backpressure`, of a generator method; `max_task_retries` is as in
    ActorOptions, None for what the class says. The call runs in `concurrency_group`, one of those
    that its class has.
    """

    name: str = ""
    num_returns: int = 1
    timeout: float | None = None
    deadline: float | None = None
    max_task_retries: int | None = None
    concurrency_group: str = ""
    backpressure: int | None = None

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
    checked = {name: CHECKS[name](name, value) for name, value in changes.items()}
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
