"""What each call, actor and object of an inline engine is doing. Under the engine's lock."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any, Final

from flame_remote import _ids
from flame_remote._actor_names import ActorNames
from flame_remote._creation_sites import CreationSites
from flame_remote._execute.failure import one_line
from flame_remote._execute.unread import was_cancelled
from flame_remote._facts import ActorInfo, CallFacts, ObjectInfo, Snapshot, TaskInfo
from flame_remote._ids import ActorId, ObjectId, TaskId
from flame_remote._outcome import Kind
from flame_remote._spec import Demand, TargetKind, TaskSpec

from .actors import InlineActor
from .calls import CallTable, held_by
from .objects import ObjectTable, StoredObject

_MOST_STEPS: Final = 4


class View:
    """Reads the engine's tables; changes nothing."""

    def __init__(
        self,
        objects: ObjectTable,
        calls: CallTable,
        actors: Mapping[ActorId, InlineActor],
        names: ActorNames,
    ) -> None:
        self._objects = objects
        self._calls = calls
        self._actors = actors
        self._names = names

    # --- one of them ----------------------------------------------------------------------

    def explain(self, object_id: ObjectId) -> str:
        """Say what an object is, and why it is not there or what is there instead."""
        stored = self._objects.get(object_id)
        if stored is None:
            return f"object {_ids.show(object_id)} is gone: nothing refers to it any more"
        kind, data = stored.outcome.kind, stored.outcome.data
        actor = self._actors.get(object_id)
        if kind is Kind.FAILED:
            if was_cancelled(data):
                return f"{stored.name} was cancelled"
            return f"{stored.name} has failed: {one_line(data)}"
        if actor is not None and stored.done:
            word = f"is dead: {actor.how_it_died}" if actor.how_it_died else "is alive"
            return f"{stored.name} {word} in this process, and runs {len(actor.running)} calls now"
        if stored.done:
            what = "has succeeded" if any(stored.states) else "was put"
            return f"{stored.name} {what}: its value is there ({_size_of(stored)} bytes)"
        return f"{stored.name} {self._is_doing(object_id, _MOST_STEPS)}"

    def _is_doing(self, task_id: TaskId, steps: int) -> str:
        pid = f"in this process (pid {os.getpid()})"
        if (awaited := self._calls.blocked_on(task_id)) is not None:
            return f"is blocked in get {pid}: it waits for {self._awaited(awaited, steps)}"
        if self._calls.running(task_id) is not None:
            return f"runs {pid}"
        spec = self._calls.waiting(task_id)
        if spec is None:
            return "has just ended"
        obstacle = self._calls.obstacle(spec)
        if not obstacle:
            return "is about to run"
        if obstacle in [object_id for _, object_id in spec.dependencies]:
            return f"waits for its argument: {self._awaited(obstacle, steps)}"
        actor = self._actors.get(spec.actor)
        if obstacle == spec.actor or actor is None:
            return f"waits for its actor: {self._awaited(obstacle, steps)}"
        position = len(actor.running) + self._calls.place_on_actor(spec)
        return (
            f"is call {position + 1} in the queue of {actor.name} {_ids.show(spec.actor)}, "
            f"which {'runs' if obstacle in actor.running else 'comes to'} "
            f"{self._awaited(obstacle, steps)}"
        )

    def _awaited(self, object_id: ObjectId, steps: int) -> str:
        stored = self._objects.get(object_id)
        name = stored.name if stored is not None else _ids.show(object_id)
        return f"{name}, which {self._is_doing(object_id, steps - 1)}" if steps > 1 else name

    def facts_of(self, task_id: TaskId, deadline: float | None) -> CallFacts:
        """Return what is known of a call that runs."""
        spec = self._calls.running(task_id)
        if spec is None:
            return CallFacts(deadline=deadline)
        is_actor = spec.target.kind is TargetKind.ACTOR
        actor_id = spec.id if is_actor else spec.actor
        actor = self._actors.get(actor_id)
        return CallFacts(
            name=spec.target.name,
            attempt=1,
            actor=_ids.show(actor_id) if actor_id else "",
            actor_name=actor.name if actor is not None else "",
            resources=_amounts(spec) if actor is None else dict(actor.resources),
            deadline=deadline,
        )

    # --- all of them ----------------------------------------------------------------------

    def snapshot(self, sites: CreationSites | None) -> Snapshot:
        """Return everything at this moment. There are no workers."""
        return Snapshot(tuple(self._tasks()), tuple(self._all_actors()), tuple(self._values(sites)))

    def _tasks(self) -> Iterator[TaskInfo]:
        for spec in sorted(self._calls, key=lambda spec: spec.id):
            runs = self._calls.running(spec.id) is not None
            awaited = self._calls.blocked_on(spec.id) if runs else self._calls.obstacle(spec)
            is_argument = awaited in [object_id for _, object_id in spec.dependencies]
            waiting = "waiting" if is_argument else "queued"
            yield TaskInfo(
                id=_ids.show(spec.id),
                name=spec.target.name,
                kind=spec.target.kind.value,
                state=("blocked" if awaited else "running") if runs else waiting,
                pid=os.getpid() if runs else 0,
                actor=_ids.show(spec.actor) if spec.actor else "",
                parent=_ids.show(spec.parent) if spec.parent else "",
                resources=_amounts(spec),
                waits_for=(_ids.show(awaited),) if awaited else (),
            )

    def _all_actors(self) -> Iterator[ActorInfo]:
        for actor_id, actor in self._actors.items():
            if actor.how_it_died or actor.failure:
                continue
            naming = self._names.naming_of(actor_id)
            queued = sum(spec.actor == actor_id for spec in self._calls) - len(actor.running)
            yield ActorInfo(
                id=_ids.show(actor_id),
                name=actor.name,
                state="alive" if actor.instance is not None else "starting",
                pid=os.getpid(),
                running=len(actor.running),
                queued=queued,
                resources=dict(actor.resources),
                namespace=None if naming is None else naming.namespace,
            )

    def _values(self, sites: CreationSites | None) -> Iterator[ObjectInfo]:
        by_tasks = Counter(i for spec in self._calls for i in held_by(spec))
        by_values = Counter(i for _, stored in self._objects for i in stored.outcome.refs)
        for object_id, stored in self._objects:
            held = by_tasks[object_id], by_values[object_id]
            name = stored.name.partition("() ")[0] if any(stored.states) else ""
            is_actor = object_id in self._actors
            yield ObjectInfo(
                id=_ids.show(object_id),
                name=self._actors[object_id].name if is_actor else name,
                kind=_kind_of(stored, is_actor=is_actor),
                size_bytes=_size_of(stored),
                driver_refs=max(0, stored.count - sum(held)),
                tasks=held[0],
                values=held[1],
                made_at=sites.get(object_id) if sites is not None else "",
            )


def _amounts(spec: TaskSpec) -> dict[str, float]:
    return {name: units / Demand.UNIT for name, units in spec.target.demand}


def _kind_of(stored: StoredObject, *, is_actor: bool) -> str:
    kind = stored.outcome.kind
    if is_actor and kind is not Kind.FAILED:
        return "actor"
    return {Kind.PENDING: "pending", Kind.FAILED: "failed"}.get(
        kind, "stored" if stored.buffers else "small"
    )


def _size_of(stored: StoredObject) -> int:
    data: Any = stored.outcome.data
    size = len(data) if isinstance(data, (bytes, str)) else 8
    return size + sum(map(len, stored.buffers)) if stored.done else 0
