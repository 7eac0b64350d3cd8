"""Ray's `ray.util.state`: what there is now, from flame.state. No server is asked."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any, Final

import flame_remote as flame

Filter = tuple[str, str, Any]

_TASK_STATES: Final = {
    "waiting": "PENDING_ARGS_AVAIL",
    "resting": "PENDING_NODE_ASSIGNMENT",
    "queued": "PENDING_NODE_ASSIGNMENT",
    "starting": "PENDING_NODE_ASSIGNMENT",
    "sent": "SUBMITTED_TO_WORKER",
    "running": "RUNNING",
    "blocked": "RUNNING_IN_RAY_GET",
}
_TASK_KINDS: Final = {
    "function": "NORMAL_TASK",
    "actor": "ACTOR_CREATION_TASK",
    "method": "ACTOR_TASK",
}
_ACTOR_STATES: Final = {
    "waiting": "DEPENDENCIES_UNREADY",
    "starting": "PENDING_CREATION",
    "alive": "ALIVE",
    "leaving": "DEAD",
}


class State(dict[str, Any]):
    """One of what is listed: a dict whose items are attributes too."""

    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]
        except KeyError:
            raise AttributeError(name) from None


def list_tasks(
    *, filters: Sequence[Filter] | None = None, limit: int = 100, detail: bool = False, **_: Any
) -> list[State]:
    """Return the calls that have not ended."""
    return _chosen(
        [
            State(
                task_id=task.id,
                name=task.name,
                func_or_class_name=task.name,
                state=_TASK_STATES[task.state],
                type=_TASK_KINDS[task.kind],
                actor_id=task.actor or None,
                parent_task_id=task.parent or None,
                worker_pid=task.pid or None,
                attempt_number=task.attempt - 1,
                required_resources=dict(task.resources),
            )
            for task in flame.state.tasks()
        ],
        filters,
        limit,
    )


def list_actors(
    *, filters: Sequence[Filter] | None = None, limit: int = 100, detail: bool = False, **_: Any
) -> list[State]:
    """Return the actors that live, and those to come."""
    return _chosen(
        [
            State(
                actor_id=actor.id,
                class_name=actor.name,
                name=actor.name,
                state=_ACTOR_STATES.get(actor.state, "RESTARTING"),
                pid=actor.pid,
                required_resources=dict(actor.resources),
            )
            for actor in flame.state.actors()
        ],
        filters,
        limit,
    )


def list_objects(
    *, filters: Sequence[Filter] | None = None, limit: int = 100, detail: bool = False, **_: Any
) -> list[State]:
    """Return the values that are kept or awaited."""
    return _chosen(
        [
            State(
                object_id=one.id,
                object_size=one.size_bytes,
                task_status="PENDING" if one.kind == "pending" else "FINISHED",
                call_site=one.made_at,
                type="ACTOR_HANDLE" if one.kind == "actor" else "DRIVER",
            )
            for one in flame.state.objects()
        ],
        filters,
        limit,
    )


def list_workers(
    *, filters: Sequence[Filter] | None = None, limit: int = 100, detail: bool = False, **_: Any
) -> list[State]:
    """Return the worker processes."""
    return _chosen(
        [
            State(worker_id=str(one.id), pid=one.pid, worker_type="WORKER", is_alive=True)
            for one in flame.state.workers()
        ],
        filters,
        limit,
    )


def list_nodes(**_: Any) -> list[State]:
    """Return the nodes: this machine."""
    from .._starting import nodes

    return [
        State(node_id=node["NodeID"], node_name=node["NodeName"], state="ALIVE", is_head_node=True)
        for node in nodes()
    ]


def summarize_tasks(**_: Any) -> dict[str, Any]:
    """Count calls that have not ended by name and state."""
    summary: dict[str, Counter[str]] = {}
    for task in list_tasks(limit=1 << 60):
        summary.setdefault(task.name, Counter())[task.state] += 1
    return {"cluster": {"summary": {name: dict(count) for name, count in summary.items()}}}


def _chosen(found: list[State], filters: Sequence[Filter] | None, limit: int) -> list[State]:
    for name, operator, value in filters or ():
        if operator not in ("=", "!="):
            raise ValueError(f"a filter compares with '=' or '!=', not {operator!r}")
        found = [one for one in found if (str(one.get(name)) == str(value)) == (operator == "=")]
    return found[:limit]
