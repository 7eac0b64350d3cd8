"""What there is now: calls, actors, objects and workers. No server is asked, and nothing is kept.

    flame.state.tasks(state="running")
    flame.state.objects(kind="stored")

Each function takes a field's name and the value it must have, any number of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from typing import Any, TypeVar

from flame_remote._current import current_engine
from flame_remote._facts import ActorInfo, ObjectInfo, Snapshot, TaskInfo, WorkerInfo
from flame_remote._options import nearest

__all__ = [
    "ActorInfo",
    "ObjectInfo",
    "TaskInfo",
    "WorkerInfo",
    "actors",
    "objects",
    "tasks",
    "workers",
]

I = TypeVar("I", TaskInfo, ActorInfo, ObjectInfo, WorkerInfo)  # noqa: E741


def tasks(**wanted: Any) -> list[TaskInfo]:
    """Return the calls that have not ended, in the order in which they were made.

    Args:
        wanted: fields of TaskInfo with their values, e.g. `state="running"`.

    Raises:
        TypeError: there is no such field.
        EngineError: the engine does not know, because it is on a cluster.
    """
    return _matching(_snapshot().tasks, TaskInfo, wanted)


def actors(**wanted: Any) -> list[ActorInfo]:
    """Return the actors that live, and those to come; as `tasks`."""
    return _matching(_snapshot().actors, ActorInfo, wanted)


def objects(**wanted: Any) -> list[ObjectInfo]:
    """Return the values that are kept or awaited, with who holds them; as `tasks`."""
    return _matching(_snapshot().objects, ObjectInfo, wanted)


def workers(**wanted: Any) -> list[WorkerInfo]:
    """Return the worker processes; as `tasks`."""
    return _matching(_snapshot().workers, WorkerInfo, wanted)


def _snapshot() -> Snapshot:
    engine = current_engine()
    return Snapshot() if engine is None else engine.snapshot()


def _matching(found: Sequence[I], kind: type[I], wanted: dict[str, Any]) -> list[I]:
    known = [field.name for field in fields(kind)]
    for name in wanted:
        if name not in known:
            raise TypeError(
                f"{kind.__name__} has no field {name!r}{nearest(name, known)}; "
                f"fields: {', '.join(known)}"
            )
    return [
        info
        for info in found
        if all(getattr(info, name) == value for name, value in wanted.items())
    ]
