"""What an inline engine knows, and the lock that guards it."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from flame_remote._actor_names import ActorNames
from flame_remote._execute.unread import report_unread
from flame_remote._ids import ActorId, ObjectId, TaskId
from flame_remote._outcome import Kind
from flame_remote._scheduling.lineage import Lineage
from flame_remote._scheduling.living import LivingTargets
from flame_remote._spec import Demand, Naming, TargetKind, TaskSpec
from flame_remote.exceptions import EngineClosedError, SessionEndedError

from .actors import InlineActor
from .calls import CallTable
from .nesting import task_stack
from .objects import CallbackOfRef, ObjectTable, StoredObject


class Tables:
    """All tables of an engine. Safe to call from any thread.

    No user code runs while the lock is held. So what is taken out of the tables under it is buried
    after it.
    """

    def __init__(self) -> None:
        # Constant after construction.
        self.ref_events: deque[int] = deque()  # as Engine.ref_events
        self.lock = threading.Lock()
        self.changed = threading.Condition(self.lock)  # a call has ended, or all is closed
        # Guarded by self.lock; to look something up needs none.
        self.closed = False
        self.objects = ObjectTable()
        self.actors: dict[ActorId, InlineActor] = {}
        self.calls = CallTable(self.objects, self.actors)
        self.names = ActorNames()
        self.cancelled: set[TaskId] = set()  # of the calls that run
        self.lineage = Lineage()
        self.scopes: set[TaskId] = set()  # those that are open
        self.targets = LivingTargets()  # their events are appended to by any thread
        # Takes out code that nobody can call any more; set by who keeps it.
        self.forget_code: Callable[[Iterable[int]], list[Any]] = lambda target_ids: []

    # --- calls ---

    def begin(self, spec: TaskSpec, naming: Naming | None) -> None:
        """Take in a call, with one ref to what it makes. The caller holds self.lock."""
        target = spec.target
        for place, object_id in spec.dependencies:
            if self.objects.get(object_id) is None:
                raise SessionEndedError(f"argument {place!r} of {target.name}()")
        if target.kind is TargetKind.ACTOR:
            self._begin_actor(spec, naming)
        else:
            self.objects.add_result(spec.id, target.name)
        self.calls.add(spec, task_stack.get())
        if spec.parent in self.lineage.nodes or self.calls.running(spec.parent) is not None:
            self.lineage.add(spec.id, spec.parent)

    def _begin_actor(self, spec: TaskSpec, naming: Naming | None) -> None:
        target = spec.target
        if naming is not None:
            self.names.give(naming, spec.id)
        self.objects.add_actor(spec.id, target.name)
        if naming is not None and naming.detached:
            self.objects.hold([spec.id])
        amounts = {name: units / Demand.UNIT for name, units in target.demand}
        actor = InlineActor(target.name, target.max_concurrency, amounts, target.groups)
        actor.creation = spec
        self.actors[spec.id] = actor

    # --- actors ---

    def end_actor(self, actor: ActorId, how: str) -> None:
        """An actor is dead. Runs user code: the instance's __del__."""
        with self.lock:
            doomed = self.actors.get(actor)
            if doomed is None or doomed.how_it_died:
                return
            doomed.how_it_died = how
            stored = self.objects.get(actor)
            if stored is not None:
                stored.states = "dead", "dead", "dead"
        self.unname(actor)
        doomed.move_out()

    def unname(self, actor: ActorId) -> None:
        """An actor is dead: its name is free, and it need not be kept for that."""
        with self.lock:
            naming = self.names.forget(actor)
        if naming is not None and naming.detached:
            self.ref_events.append(actor)

    def remove_actors(self, gone: Iterable[ObjectId]) -> list[InlineActor]:
        """Take out the actors that nobody refers to. The caller holds self.lock."""
        actors = [actor_id for actor_id in gone if actor_id in self.actors]
        for actor_id in actors:
            self.names.forget(actor_id)
        return [self.actors.pop(actor_id) for actor_id in actors]

    # --- counts ---

    def take_ref_events(self) -> None:
        """Bring the counts up to date; let go of what nobody refers to any more."""
        if not self.ref_events and not self.targets.events:
            return
        gone: dict[ObjectId, StoredObject] = {}
        with self.lock:
            code = self.forget_code(self.targets.take_dead())
            while self.ref_events:
                event = self.ref_events.popleft()
                if event < 0:
                    self.objects.hold((-event,))
                else:
                    gone.update(self.objects.release((event,)))
            actors = self.remove_actors(gone)
        bury(gone, actors)
        if code:
            del code
            self.take_ref_events()  # of what it closed over

    def drop(self, object_ids: Iterable[ObjectId]) -> None:
        """Let go of values though refs to them are left. Raises EngineClosedError."""
        gone: dict[ObjectId, StoredObject] = {}
        with self.lock:
            self.check_open()
            for object_id in object_ids:
                gone.update(self.objects.drop(object_id))
            actors = self.remove_actors(gone)
        bury(gone, actors)

    # --- the end ---

    def check_open(self) -> None:
        """Raise EngineClosedError after the end."""
        if self.closed:
            raise EngineClosedError()

    def check_not_closed_meanwhile(self) -> None:
        """Raise EngineClosedError in a thread that waits, if it waits in vain."""
        if self.closed:
            raise EngineClosedError("flame was shut down while this call waited")

    def close(self) -> tuple[list[InlineActor], list[CallbackOfRef]]:
        """End all waits; return the actors to be ended, and the callbacks still to be called."""
        with self.lock:
            self.closed = True
            callbacks = self.objects.empty()
            actors = list(self.actors.values())
            self.actors.clear()
            self.changed.notify_all()
        return actors, callbacks


def bury(gone: Mapping[ObjectId, StoredObject], actors: Iterable[InlineActor]) -> None:
    """Do what the end of objects and actors asks for. Runs user code: the __del__ of instances."""
    for stored in gone.values():
        if stored.outcome.kind is Kind.FAILED and not stored.was_read:
            report_unread(stored.outcome.data)
    for actor in actors:
        actor.move_out()
