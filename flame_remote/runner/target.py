"""Targets: what engines are told of a function, a class or a method, made of code and options."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from flame_remote._options import ActorOptions, TaskOptions, demand_of
from flame_remote._refs import ObjectRef
from flame_remote._spec import (
    MORTAL,
    UNLIMITED,
    CallLimits,
    Demand,
    Restarts,
    ServicePolicy,
    Target,
    TargetKind,
)
from flame_remote.engine import Engine
from flame_remote.exceptions import InvalidOptionError, SessionEndedError


def restarts_of(cls: type, options: ActorOptions) -> Restarts:
    """Return what becomes of instances whose process dies; MORTAL if they stay dead.

    Raises InvalidOptionError if the options ask for a state that the class does not tell.
    """
    hooks = [hasattr(cls, name) for name in ("__flame_checkpoint__", "__flame_restore__")]
    if any(hooks) != all(hooks):
        there, missing = ("checkpoint", "restore") if hooks[0] else ("restore", "checkpoint")
        raise InvalidOptionError(
            f"the class {cls.__name__} has __flame_{there}__ but no __flame_{missing}__"
        )
    if options.checkpoint_every and not all(hooks):
        raise InvalidOptionError(
            "checkpoint_every needs __flame_checkpoint__(self), which returns the state to keep,"
            f" and __flame_restore__(self, state): the class {cls.__name__} has neither"
        )
    if not options.max_restarts and not options.max_task_retries:
        return MORTAL
    every = (options.checkpoint_every or 1) if all(hooks) and options.max_restarts else 0
    return Restarts(options.max_restarts, options.max_task_retries, every)


def target_of(
    engine: Engine,
    name: str,
    exported: tuple[bytes, Sequence[ObjectRef[Any]]],
    options: TaskOptions | ActorOptions,
    kind: TargetKind,
    max_concurrency: int,
    policy: ServicePolicy | None = None,
    restarts: Restarts = MORTAL,
) -> Target:
    """Make a target of exported code and the refs inside it.

    Raises:
        UnschedulableError: the engine can never meet the options.
        SessionEndedError: a ref in the code is of another session.
    """
    name = options.name or name
    code, refs = exported
    engine.check_demand(name, options.amounts())
    limits = options.limits()
    if limits is not UNLIMITED:
        engine.check_limits(name, limits)
    environment = engine.environment
    if options.runtime_env is not None:
        environment = options.runtime_env.inside(environment)
        engine.check_environment(name, environment)
    for ref in refs:
        if ref._engine is not engine:
            raise SessionEndedError(f"a ref that {name} closes over")
    more = tuple(repr(part) for part in (policy, environment) if part is not None)
    return Target(
        id=_target_id(code, kind.value, name, repr(options), *more),
        kind=kind,
        name=name,
        code=code,
        demand=demand_of(options),
        max_retries=options.max_retries,
        max_concurrency=max_concurrency,
        refs=tuple(refs),
        policy=policy,
        limits=limits,
        environment=environment,
        restarts=restarts,
        groups=options.concurrency_groups if isinstance(options, ActorOptions) else (),
        events=engine.target_events,
    )


@lru_cache(maxsize=1024)
def method_target(
    name: str, method: str, limits: CallLimits, max_task_retries: int | None, group: str
) -> Target:
    """Return the target of a method; equal for all instances and all classes of that name."""
    told = repr((limits, max_task_retries, group))
    return Target(
        id=_target_id(b"", TargetKind.METHOD.value, name, method, told),
        kind=TargetKind.METHOD,
        name=name,
        code=b"",
        demand=Demand(),
        max_retries=0,
        method=method,
        limits=limits,
        max_task_retries=max_task_retries,
        group=group,
    )


def _target_id(code: bytes, *more: str) -> int:
    """Derive a positive number of 63 bits from the content."""
    import hashlib  # half a millisecond that a program without a remote call need not spend

    digest = hashlib.blake2b("\0".join(more).encode(), digest_size=8)
    digest.update(b"\0")
    digest.update(code)
    return int.from_bytes(digest.digest(), "little") & ((1 << 63) - 1) or 1
