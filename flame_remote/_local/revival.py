"""What actors need beyond one life: their constructors' arguments, names, the last state kept."""

from __future__ import annotations

from collections.abc import Iterator

from flame_remote._actor_names import ActorNames
from flame_remote._ids import ActorId, ObjectId
from flame_remote._outcome import Kind
from flame_remote._scheduling.commands import EndActor
from flame_remote._spec import Naming, TaskSpec

from .objects import ObjectTable, StoredObject, held_by

# The place, among a constructor's arguments, of the state to go on from.
STATE_PLACE = "__flame_state__"


class Revivals:
    """Keeps what belongs to an actor until it is dead for good. Inside a turn."""

    def __init__(self, objects: ObjectTable) -> None:
        self.names = ActorNames()
        self._objects = objects
        self._constructors: dict[ActorId, TaskSpec] = {}  # each holds once more what it takes
        self._detached: set[ActorId] = set()  # each is held
        self._states: dict[ActorId, ObjectId] = {}  # each is held

    def called(self, spec: TaskSpec) -> None:
        """A constructor was called that takes something, and may be called again."""
        self._constructors[spec.id] = spec
        self._objects.hold(held_by(spec))

    def named(self, naming: Naming, actor_id: ActorId) -> None:
        """An actor that has a name was just called; a detached one is held by that, if it has not
        failed at once."""
        if naming.detached and self.names.naming_of(actor_id) is naming:
            self._detached.add(actor_id)
            self._objects.hold([actor_id])

    def begin_again(self, spec: TaskSpec) -> None:
        """An actor is to be constructed again: it is awaited as the first time."""
        by_id = self._objects.by_id
        stored = by_id.get(spec.id)
        if stored is None:  # its last handle has just died
            stored = by_id[spec.id] = StoredObject(spec.target.name, spec)
            stored.count, stored.spec = 0, None
        if stored.spec is not None:
            return  # its constructor has not returned
        stored.kind, stored.data, stored.spec = int(Kind.PENDING), None, spec
        self._objects.hold(held_by(spec))

    def keep_state(self, actor_id: ActorId, state: ObjectId) -> None:
        """Keep the state of an actor in place of the one before."""
        self._objects.hold([state])
        self._let_go_of_state(actor_id)
        self._states[actor_id] = state

    def state_of(self, actor_id: ActorId) -> tuple[tuple[str, ObjectId], ...]:
        """Return the last state as one more argument of the constructor; none if none was kept."""
        state = self._states.get(actor_id)
        return () if state is None else ((STATE_PLACE, state),)

    def held(self) -> Iterator[ObjectId]:
        """Yield what is held here, once for each time."""
        for spec in self._constructors.values():
            yield from held_by(spec)
        yield from self._states.values()
        yield from self._detached

    def ended(self, command: EndActor) -> None:
        """An actor is dead for good."""
        actor_id = command.actor_id
        self.names.forget(actor_id)
        if actor_id in self._detached:
            self._detached.remove(actor_id)
            self._objects.release([actor_id])
        self._let_go_of_state(actor_id)
        spec = self._constructors.pop(actor_id, None)
        if spec is not None:
            self._objects.release(held_by(spec))

    def _let_go_of_state(self, actor_id: ActorId) -> None:
        state = self._states.pop(actor_id, None)
        if state is not None:
            self._objects.release([state])
