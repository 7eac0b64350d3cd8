"""The calls that have not ended: what each waits for, and whether that can ever come."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from flame_remote._ids import ActorId, ObjectId, TaskId
from flame_remote._spec import TaskSpec

from .actors import InlineActor
from .objects import ObjectTable, StoredObject


class CallTable:
    """All calls that wait or run, of an engine. The engine's lock guards it."""

    def __init__(self, objects: ObjectTable, actors: dict[ActorId, InlineActor]) -> None:
        self._objects = objects
        self._actors = actors
        self._waiting: dict[TaskId, TaskSpec] = {}  # in the order of the calls
        # Of those for actors: whose calls keep their order.
        self._callers: dict[TaskId, TaskId] = {}
        self._makers: dict[ObjectId, TaskId] = {}  # of objects that are one of several
        self._running: dict[TaskId, TaskSpec] = {}
        # What a running task, or one that it is nested in, waits for in `get`.
        self._blocked_on: dict[TaskId, ObjectId] = {}

    def add(self, spec: TaskSpec, made_in: Sequence[TaskId]) -> None:
        """Take in a call, made in tasks nested in one another. Until remove(), what it refers to is
        kept.
        """
        self._waiting[spec.id] = spec
        if spec.actor:
            self._callers[spec.id] = self._caller_of(made_in)
        self._makers.update(dict.fromkeys(spec.returns or (), spec.id))
        self._objects.hold(held_by(spec))

    def remove(self, spec: TaskSpec) -> dict[ObjectId, StoredObject]:
        """Let go of a running call; return the objects that are gone by that."""
        del self._running[spec.id]
        for part in spec.returns or ():
            del self._makers[part]
        actor = self._actors.get(spec.actor)
        if actor is not None:
            del actor.running[spec.id]
        return self._objects.release(held_by(spec))

    def maker_of(self, object_id: ObjectId) -> TaskId:
        """Return the call that makes an object, if it has not ended."""
        return self._makers.get(object_id, object_id)

    def running(self, task_id: TaskId) -> TaskSpec | None:
        """Return a call that has started and not ended."""
        return self._running.get(task_id)

    def waiting(self, task_id: TaskId) -> TaskSpec | None:
        """Return a call that has not started."""
        return self._waiting.get(task_id)

    def blocked_on(self, task_id: TaskId) -> ObjectId | None:
        """Return what a running task waits for in `get`, None if for nothing."""
        return self._blocked_on.get(task_id)

    def is_unfinished(self, task_id: TaskId) -> bool:
        """Say whether a call waits or runs."""
        return task_id in self._waiting or task_id in self._running

    def place_on_actor(self, spec: TaskSpec) -> int:
        """Return how many calls that have not started go before one on its actor."""
        ahead = (other for other in self._waiting.values() if other.actor == spec.actor)
        return next(place for place, other in enumerate(ahead) if other is spec)

    def __iter__(self) -> Iterator[TaskSpec]:
        """Yield the calls that run, and those that have not started."""
        yield from self._running.values()
        yield from self._waiting.values()

    def claim(self, task_id: TaskId) -> TaskSpec | None:
        """Return a call that has not started, if this is one; it counts as running from now on."""
        spec = self._waiting.pop(task_id, None)
        if spec is not None:
            self._running[task_id] = spec
            self._callers.pop(task_id, None)
            actor = self._actors.get(spec.actor)
            if actor is not None:
                actor.running[task_id] = spec.target.group
        return spec

    def claim_next(self) -> TaskSpec | None:
        """Claim the first call that nothing keeps from running."""
        for spec in self._waiting.values():
            if not self.obstacle(spec):
                return self.claim(spec.id)
        return None

    def block(self, stack: Iterable[TaskId], object_id: ObjectId) -> None:
        """Note that tasks nested in one another cannot go on before an object is there."""
        for task_id in stack:
            self._blocked_on[task_id] = object_id

    def unblock(self, stack: Iterable[TaskId]) -> None:
        """Note that they go on."""
        for task_id in stack:
            self._blocked_on.pop(task_id, None)

    def cycle(self, stack: Iterable[TaskId], object_id: ObjectId) -> tuple[str, ...]:
        """Return the names of the tasks in a circle, if `stack` would wait for itself in `get`.

        Empty if it would not: then somebody else is able to produce the object.
        """
        object_id = self.maker_of(object_id)
        names: list[str] = []
        seen: set[ObjectId] = set()
        while object_id not in seen:
            seen.add(object_id)
            if (waiting := self._waiting.get(object_id)) is not None:
                names.append(f"{waiting.target.name}()")
                object_id = self.obstacle(waiting)
            elif (running := self._running.get(object_id)) is not None:
                names.append(f"{running.target.name}()")
                actor = self._actors.get(running.actor)
                loop = actor.loop if actor is not None else None
                if object_id in stack or (loop is not None and loop.is_current()):
                    return (names[-1], *names[:-1])
                object_id = self.maker_of(self._blocked_on.get(object_id, 0))
            else:
                break
        return ()

    def obstacle(self, spec: TaskSpec) -> TaskId:
        """Return the task that must end before this one can start; 0 if none must."""
        for object_id in (spec.actor, *(object_id for _, object_id in spec.dependencies)):
            stored = self._objects.get(object_id)
            if stored is not None and not stored.done:
                return self.maker_of(object_id)
        actor = self._actors.get(spec.actor)
        if actor is None or actor.how_it_died:
            return 0
        group = spec.target.group
        if running := actor.busy_with(group):
            return running
        for earlier in self._waiting.values():
            if earlier is spec:
                break
            if (
                earlier.actor == spec.actor
                and earlier.target.group == group
                and self._callers[earlier.id] == self._callers[spec.id]
            ):
                return earlier.id
        return 0

    def _caller_of(self, made_in: Sequence[TaskId]) -> TaskId:
        """Return whose calls keep their order: 0 for the main program, a plain actor, or a task."""
        maker = self._running.get(made_in[-1]) if made_in else None
        if maker is None:
            return 0
        actor = self._actors.get(maker.actor)
        creation = actor.creation if actor is not None else None
        is_alone = creation is not None and creation.target.max_concurrency == 1
        return maker.actor if is_alone else maker.id


def held_by(spec: TaskSpec) -> list[ObjectId]:
    """Return the objects that a call holds until it ends."""
    held = [object_id for _, object_id in spec.dependencies]
    return [*held, *spec.nested, *((spec.actor,) if spec.actor else ())]
