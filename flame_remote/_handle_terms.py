"""What a handle has beside its instance, where the options of the class ask for it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from flame_remote._actor_facts import ActorFacts, MethodFacts
from flame_remote._options import ActorOptions, MethodOptions, nearest
from flame_remote._pending_calls import LimitedMethodService, PendingCalls
from flame_remote._refs import ObjectRef
from flame_remote._replicas import Replicas, ReplicatedMethod
from flame_remote.exceptions import InvalidOptionError
from flame_remote.runner.service import MethodService


@dataclass(slots=True)
class HandleTerms:
    """Constant after construction. Most handles have none of this.

    `groups` are the concurrency groups of the instance. With `several` its calls run beside each
    other in threads.
    """

    groups: tuple[str, ...] = ()
    several: bool = False
    pending: PendingCalls | None = None
    replicas: Replicas | None = None

    @classmethod
    def of(cls, options: ActorOptions, facts: ActorFacts) -> HandleTerms | None:
        """Return what a handle under the final options of its class needs; None for nothing."""
        groups = tuple(name for name, _ in options.concurrency_groups)
        several = not facts.has_async_methods and (options.max_concurrency > 1 or bool(groups))
        if (
            not several
            and not groups
            and options.max_pending_calls < 0
            and options.replicas == (1, 1)
        ):
            return None
        limit = options.max_pending_calls
        return cls(groups, several, None if limit < 0 else PendingCalls(limit))

    def service(
        self,
        instance: ObjectRef[Any],
        actor_name: str,
        name: str,
        facts: MethodFacts,
        options: MethodOptions,
    ) -> MethodService | ReplicatedMethod:
        """Return what calls a method through this handle."""
        if self.replicas is not None:
            return ReplicatedMethod(
                self.replicas, actor_name, name, facts.signature, options, self.pending
            )
        if self.pending is None:
            return MethodService(instance, actor_name, name, facts.signature, options)
        return LimitedMethodService(
            instance, actor_name, name, facts.signature, options, self.pending
        )

    def __reduce__(self) -> tuple[Any, ...]:
        limit = None if self.pending is None else self.pending.limit
        return _rebuilt, (self.groups, self.several, limit, self.replicas)


def _rebuilt(
    groups: tuple[str, ...], several: bool, limit: int | None, replicas: Replicas | None
) -> HandleTerms:
    return HandleTerms(groups, several, None if limit is None else PendingCalls(limit), replicas)


def check_group(what: str, group: str, known: tuple[str, ...]) -> None:
    """Raise InvalidOptionError if a call cannot be made in a concurrency group.

    Args:
        what: names the method, for the error.
        group: the group, "" for none.
        known: the groups that the class has.
    """
    if group and group not in known:
        has = (
            f"groups: {', '.join(known)}"
            if known
            else (f"it has none: give the class concurrency_groups={{{group!r}: 2}}")
        )
        raise InvalidOptionError(
            f"{what}: its class has no concurrency group {group!r}{nearest(group, known)}; {has}"
        )


def check_groups(facts: ActorFacts, options: ActorOptions) -> None:
    """Raise InvalidOptionError if a method of a class names a group that the class has not."""
    known = tuple(name for name, _ in options.concurrency_groups)
    for name, method in facts.methods.items():
        if method.options is not None:
            check_group(f"the method {facts.name}.{name}", method.options.concurrency_group, known)
