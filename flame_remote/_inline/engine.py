"""The inline engine: runs each call at once, in the thread that makes it.

Arguments, results and stored values go through bytes all the same, so that what works here works
on the other engines too. A call waits only if it takes the result of one that waits, or is made on
an actor that is busy: by the actor itself, or in another thread. The methods of an actor that has
`async def` methods run in a thread of that actor, where they interleave.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

from flame_remote import _ids
from flame_remote._config import Config
from flame_remote._creation_sites import CreationSites, line_of_the_user
from flame_remote._deadline import Deadline
from flame_remote._environment import Environment
from flame_remote._execute.actor_exit import ActorExit
from flame_remote._execute.frames import without_own_frames
from flame_remote._facts import CallFacts, Snapshot
from flame_remote._ids import ActorId, ObjectId, TaskId
from flame_remote._refs import ObjectRef, register_engine, unregister_engine
from flame_remote._spec import Naming, TaskSpec
from flame_remote._timeline import Timeline
from flame_remote._wire.packing import Packed
from flame_remote.engine import Engine
from flame_remote.exceptions import InvalidOptionError, SessionEndedError, UnschedulableError

from .callbacks import call_back
from .endings import Endings
from .execution import CallExecutor
from .limits import Limits
from .looking import View
from .nesting import current_parent, task_stack
from .objects import Callback, StoredObject
from .records import Records
from .running import Runner
from .scopes import InlineScope
from .tables import Tables
from .waits import Waits


class InlineEngine(Engine):
    """Runs tasks in the calling thread. Safe to call from any thread."""

    runs_ahead = False
    has_groups = True

    def __init__(self, config: Config) -> None:
        # Constant after construction.
        self.session = os.urandom(8).hex()
        self._ids = _ids.id_source(_ids.DRIVER)
        self._resources = config.amounts()
        self.environment = config.environment
        self.gpus = config.gpus
        tables = self._tables = Tables()
        self.ref_events = tables.ref_events
        self._limits = Limits()
        self._records = Records(tables.objects, tables.actors, timeline=config.timeline)
        executor = CallExecutor(tables.objects, tables.actors, self._limits)
        tables.forget_code = executor.forget
        self.target_events = tables.targets.events
        endings = Endings(tables, self._limits, self._records)
        self._runner = Runner(tables, executor, endings, self._records)
        self._waits = Waits(tables)
        self._view = View(tables.objects, tables.calls, tables.actors, tables.names)
        if self._records.sites is not None:
            self._note_sites(self._records.sites)
        register_engine(self)

    # --- tasks ---

    def new_id(self) -> TaskId:
        return next(self._ids)

    def current_task(self) -> TaskId:
        for task_id in reversed(task_stack.get()):
            if task_id not in self._tables.scopes:
                return task_id
        return 0

    def current_parent(self) -> TaskId:
        return current_parent()

    def result_of_task(self) -> ObjectRef[Any] | None:
        task = self.current_task()
        if not task:
            return None
        self.ref_events.append(-task)  # it is kept as long as the task has not ended
        return ObjectRef(task, self)

    def check_demand(self, name: str, amounts: Mapping[str, float]) -> None:
        for resource, needed in amounts.items():
            available = self._resources.get(resource, 0.0)
            if needed > available:
                raise UnschedulableError(name, resource, needed, available)

    def check_environment(self, name: str, environment: Environment) -> None:
        environment.check(name)

    def submit(self, spec: TaskSpec) -> ObjectRef[Any]:
        return self._submit(spec, None)

    def submit_named(self, spec: TaskSpec, naming: Naming) -> ObjectRef[Any]:
        return self._submit(spec, naming)

    def _submit(self, spec: TaskSpec, naming: Naming | None) -> ObjectRef[Any]:
        tables = self._tables
        tables.take_ref_events()
        with tables.lock:
            tables.check_open()
            tables.begin(spec, naming)
            self._limits.submitted(spec, task_stack.get())
        ref = ObjectRef[Any](spec.id, self)
        self._runner.run_now()
        return ref

    def submit_several(self, spec: TaskSpec) -> list[ObjectRef[Any]]:
        tables = self._tables
        with tables.lock:
            tables.check_open()
            for object_id in spec.returns or ():
                tables.objects.add_result(object_id, spec.target.name)
        refs = [ObjectRef[Any](object_id, self) for object_id in spec.returns or ()]
        self.submit(spec)
        return refs

    def find_actor(self, name: str, namespace: str) -> tuple[ObjectRef[Any], bytes]:
        tables = self._tables
        tables.take_ref_events()
        with tables.lock:
            tables.check_open()
            named = tables.names.find(name, namespace)
            tables.objects.hold([named.actor])
            return ObjectRef(named.actor, self), named.naming.handle

    def cancel(self, ref: ObjectRef[Any], force: bool, recursive: bool = True) -> bool:
        return self._runner.cancel(ref._id, recursive=recursive)

    def kill(self, actor: ActorId, *, may_restart: bool = False) -> None:
        if may_restart:
            raise InvalidOptionError(
                "kill(no_restart=False) ends the process of an actor, which the inline engine has"
                " not: use the embedded one, flame.init('embedded')"
            )
        self._tables.end_actor(actor, "it was ended by flame.kill()")
        self._runner.run_what_can_start()

    def exit_actor(self) -> NoReturn:
        with self._tables.lock:
            spec = self._tables.calls.running(self.current_task())
        if spec is None or not spec.actor:
            super().exit_actor()
        raise ActorExit

    def has_died(self, actor: ActorId) -> bool:
        with self._tables.lock:
            known = self._tables.actors.get(actor)
            return known is not None and bool(known.how_it_died or known.failure)

    # --- objects ---

    def put(self, packed: Packed) -> ObjectRef[Any]:
        tables = self._tables
        tables.take_ref_events()
        object_id = self.new_id()
        with tables.lock:
            tables.check_open()
            tables.objects.add_value(object_id, packed)
        return ObjectRef(object_id, self)

    def get(self, refs: Sequence[ObjectRef[Any]], deadline: Deadline) -> list[Any]:
        self._tables.take_ref_events()
        try:
            value_of = self._waits.value_of
            return [value_of(ref, self._find(ref), refs, deadline) for ref in refs]
        except BaseException as error:
            # The same error, with this function as its only frame of ours.
            raise error.with_traceback(without_own_frames(error.__traceback__))  # noqa: B904

    def wait(
        self, refs: Sequence[ObjectRef[Any]], num_returns: int, deadline: Deadline
    ) -> set[ObjectId]:
        self._tables.take_ref_events()
        stored = {ref._id: self._find(ref) for ref in refs}
        return self._waits.done_among(stored, num_returns, deadline)

    def free(self, refs: Sequence[ObjectRef[Any]]) -> None:
        self._tables.take_ref_events()
        self._tables.drop([ref._id for ref in refs])

    def is_kept(self, object_id: ObjectId) -> bool:
        self._tables.take_ref_events()
        return self._tables.objects.get(object_id) is not None

    def is_done(self, ref: ObjectRef[Any]) -> bool:
        return self._find(ref).done

    def on_done(self, ref: ObjectRef[Any], callback: Callback) -> None:
        tables = self._tables
        with tables.lock:
            stored = tables.objects.get(ref._id) if not tables.closed else None
            if stored is not None and not stored.done:
                stored.callbacks.append((callback, ref))
                return
        call_back(callback, ref)

    def _find(self, ref: ObjectRef[Any]) -> StoredObject:
        """Return what a ref refers to; reading the table needs no lock."""
        is_ours = ref._engine is self and not self._tables.closed
        stored = self._tables.objects.get(ref._id) if is_ours else None
        if stored is None:
            raise SessionEndedError(f"an ObjectRef to {ref._engine.describe(ref)}")
        return stored

    # --- knowing ---

    def open_scope(self, deadline: float | None, *, stops: bool) -> InlineScope:
        return InlineScope(
            self.new_id(), self._tables, self._runner, self._waits, deadline, stops=stops
        )

    def explain(self, ref: ObjectRef[Any]) -> str:
        self._find(ref)
        self._tables.take_ref_events()
        with self._tables.lock:
            return self._view.explain(ref._id)

    def snapshot(self) -> Snapshot:
        self._tables.take_ref_events()
        with self._tables.lock:
            return self._view.snapshot(self._records.sites)

    def call_facts(self) -> CallFacts:
        with self._tables.lock:
            deadline = self._tables.lineage.deadline_of(current_parent())
            return self._view.facts_of(self.current_task(), deadline)

    def is_cancelled(self) -> bool:
        return self.current_task() in self._tables.cancelled

    def timeline(self) -> Timeline:
        return self._records.timeline or super().timeline()

    def save_failed_calls(self, folder: str | None) -> None:
        self._records.save_failed_calls(folder)

    def _note_sites(self, sites: CreationSites) -> None:
        """Have the lines noted that call `submit` and `put`; who does not want it pays nothing."""
        submit, put = self.submit, self.put

        def noted(ref: ObjectRef[Any], site: str) -> ObjectRef[Any]:
            sites.note(ref._id, site)
            return ref

        self.submit = lambda spec: noted(submit(spec), line_of_the_user())  # type: ignore[method-assign]
        self.put = lambda packed: noted(put(packed), line_of_the_user())  # type: ignore[method-assign]

    # --- the engine ---

    def describe(self, ref: ObjectRef[Any]) -> str:
        stored = self._tables.objects.get(ref._id)
        return stored.describe() if stored is not None else f"object {_ids.show(ref._id)}"

    def resources(self) -> Mapping[str, float]:
        return dict(self._resources)

    def close(self) -> None:
        self._tables.take_ref_events()
        actors, callbacks = self._tables.close()
        unregister_engine(self)
        for actor in actors:
            actor.move_out()
        for callback, ref in callbacks:
            call_back(callback, ref)
