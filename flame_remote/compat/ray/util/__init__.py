"""Ray's `ray.util`: pools of actors, and loops over results."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import flame_remote as flame
from flame_remote import ActorPool, ObjectRef

from .._starting import current_namespace
from . import queue, state

__all__ = [
    "ActorPool",
    "as_completed",
    "get_node_ip_address",
    "inspect_serializability",
    "list_named_actors",
    "log_once",
    "map_unordered",
    "placement_group",
    "queue",
    "state",
]

_logged: set[str] = set()


def as_completed(
    refs: Sequence[ObjectRef[Any]],
    *,
    chunk_size: int = 10,
    yield_obj_refs: bool = False,
    **kwargs: Any,
) -> Iterator[Any]:
    """Yield results in the order in which they come.

    Args:
        refs: of the calls.
        chunk_size: has no effect.
        yield_obj_refs: yield the refs in place of the results.
        kwargs: arguments of `wait`, which have no effect.
    """
    for ref in flame.as_completed(refs):
        yield ref if yield_obj_refs else ref.get()


def map_unordered(
    fn: Any,
    items: Iterable[Any],
    *,
    backpressure_size: int | None = 100,
    chunk_size: int = 10,
    yield_obj_refs: bool = False,
    **kwargs: Any,
) -> Iterator[Any]:
    """Call a remote function for each item; yield results in the order in which they come.

    Args:
        fn: a remote function.
        items: may be endless.
        backpressure_size: how many calls are under way at most; None for any number.
        chunk_size: has no effect.
        yield_obj_refs: yield refs in place of the results.
        kwargs: arguments of `wait`, which have no effect.
    """
    waiting = iter(items)
    under_way: deque[ObjectRef[Any]] = deque(
        fn.remote(item) for item in itertools.islice(waiting, backpressure_size)
    )
    ended = flame.as_completed(under_way)
    for ref in ended:
        ended.update(fn.remote(item) for item in itertools.islice(waiting, 1))
        yield ref if yield_obj_refs else ref.get()


def inspect_serializability(
    base_obj: Any, name: str | None = None, depth: int = 3, print_file: Any = None
) -> tuple[bool, set[Any]]:
    """Say whether a value can travel; print what in it cannot."""
    try:
        flame.put(base_obj)
    except flame.SerializationError as error:
        print(error, file=print_file)
        return False, {str(error)}
    return True, set()


def get_node_ip_address() -> str:
    """Return the address of this machine."""
    return "127.0.0.1"


def log_once(key: str) -> bool:
    """Say whether this is the first call with `key` in this process."""
    is_new = key not in _logged
    _logged.add(key)
    return is_new


def list_named_actors(all_namespaces: bool = False) -> list[Any]:
    """Return the names of named actors; with `all_namespaces`, dicts with the namespace too."""
    named = [actor for actor in flame.state.actors() if actor.namespace is not None]
    if all_namespaces:
        return [{"namespace": actor.namespace, "name": actor.name} for actor in named]
    here = current_namespace() or ""
    return [actor.name for actor in named if actor.namespace == here]


def placement_group(*args: Any, **kwargs: Any) -> Any:
    """Refuse: one machine runs it all."""
    raise NotImplementedError(
        "there are no placement groups: one machine runs it all; use num_cpus and resources"
    )
