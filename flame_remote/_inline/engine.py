"""The inline engine: runs each call at once, in the thread that makes it.

Arguments, results and stored values go through bytes all the same, so that what works here works
on the other engines too. A call waits only if it takes the result of one that waits, or is made on
an actor that is busy: by the actor itself, or in another thread. The methods of an actor that has
`async def` methods run in a thread of that actor, where they interleave.
"""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any, Final, NoReturn

from flame_remote import _ids
from flame_remote._actor_names import ActorNames
from flame_remote._config import Config
from flame_remote._creation_sites import CreationSites, are_wanted, line_of_the_user
from flame_remote._deadline import Deadline
from flame_remote._environment import Environment
from flame_remote._execute.actor_exit import ActorExit
from flame_remote._execute.bundle import BundleWriter
from flame_remote._execute.call import execute, is_coroutine
from flame_remote._execute.coroutines import LoopThread, run_coroutine
from flame_remote._execute.failure import (
    rebuild_error,
)
from flame_remote._execute.frames import without_own_frames
from flame_remote._execute.result import cannot_rebuild
from flame_remote._execute.unread import report_unread, was_cancelled
from flame_remote._facts import CallFacts, Snapshot
from flame_remote._ids import ActorId, ObjectId, TaskId
from flame_remote._outcome import Kind, Outcome
from flame_remote._refs import ObjectRef, register_engine, unregister_engine
from flame_remote._scheduling.lineage import Lineage
from flame_remote._scheduling.living import LivingTargets
from flame_remote._spec import Demand, Naming, TargetKind, TaskSpec
from flame_remote._timeline import Span, Timeline
from flame_remote._wire.packing import Packed
from flame_remote.engine import Engine
from flame_remote.exceptions import (
    DeadlockError,
    EngineClosedError,
    FlameError,
    GetTimeoutError,
    InvalidOptionError,
    SessionEndedError,
    TaskCancelledError,
    UnschedulableError,
)

from .actors import InlineActor
from .calls import CallTable
from .environment import put_on
from .execution import CallExecutor, Content, died, failed, parts_of
from .limits import Limits
from .looking import View
from .nesting import ends_the_program, task_stack
from .objects import Callback, ObjectTable, StoredObject
from .scopes import InlineScope

_THIS: Final = nullcontext()  # the environment that the process has anyhow


class InlineEngine(Engine):
    """Runs tasks in the calling thread. Safe to call from any thread."""

    runs_ahead = False
    has_groups = True

    def __init__(self, config: Config) -> None:
        # Constant after construction.
        self.session = os.urandom(8).hex()
        self.ref_events: deque[int] = deque()
        self._ids = _ids.id_source(_ids.DRIVER)
        self._resources = config.amounts()
        self.environment = config.environment
        self.gpus = config.gpus
        # Guarded by self._lock. No user code runs while it is held.
        self._lock = threading.Lock()
        self._changed = threading.Condition(self._lock)
        self._closed = False
        self._objects = ObjectTable()
        self._actors: dict[ActorId, InlineActor] = {}
        self._calls = CallTable(self._objects, self._actors)
        self._names = ActorNames()
        self._cancelled: set[TaskId] = set()  # of those that run
        self.lineage = Lineage()
        self.scopes: set[TaskId] = set()  # those that are open
        # Runs user code, so never called under the lock.
        self._limits = Limits()
        self._executor = CallExecutor(self._objects, self._actors, self._limits)
        self._targets = LivingTargets()  # guarded by self._lock, but for the events
        self.target_events = self._targets.events
        # What was asked for beside the work itself; None where it was not.
        self._timeline = Timeline() if config.timeline else None
        self._failed_calls: BundleWriter | None = None
        self._sites: CreationSites | None = None
        if are_wanted():
            objects = self._objects
            self._sites = CreationSites(lambda: dict(objects), lambda: len(dict(objects)))
            self._note_sites(self._sites)
        register_engine(self)

    # --- tasks ---

    def new_id(self) -> TaskId:
        return next(self._ids)

    def current_task(self) -> TaskId:
        for task_id in reversed(task_stack.get()):
            if task_id not in self.scopes:
                return task_id
        return 0

    def current_parent(self) -> TaskId:
        stack = task_stack.get()
        return stack[-1] if stack else 0

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

    def find_actor(self, name: str, namespace: str) -> tuple[ObjectRef[Any], bytes]:
        self._take_ref_events()
        with self._lock:
            self._check_open()
            named = self._names.find(name, namespace)
            self._objects.hold([named.actor])
            return ObjectRef(named.actor, self), named.naming.handle

    def _submit(self, spec: TaskSpec, naming: Naming | None) -> ObjectRef[Any]:
        self._take_ref_events()
        target = spec.target
        with self._lock:
            self._check_open()
            for place, object_id in spec.dependencies:
                if self._objects.get(object_id) is None:
                    raise SessionEndedError(f"argument {place!r} of {target.name}()")
            if target.kind is TargetKind.ACTOR:
                if naming is not None:
                    self._names.give(naming, spec.id)
                self._objects.add_actor(spec.id, target.name)
                if naming is not None and naming.detached:
                    self._objects.hold([spec.id])
                amounts = {name: units / Demand.UNIT for name, units in target.demand}
                actor = InlineActor(target.name, target.max_concurrency, amounts, target.groups)
                actor.creation = spec
                self._actors[spec.id] = actor
            else:
                self._objects.add_result(spec.id, target.name)
            self._calls.add(spec, task_stack.get())
            self._limits.submitted(spec, task_stack.get())
            if spec.parent in self.lineage.nodes or self._calls.running(spec.parent) is not None:
                self.lineage.add(spec.id, spec.parent)
        ref = ObjectRef[Any](spec.id, self)
        self._run_now()
        return ref

    def submit_several(self, spec: TaskSpec) -> list[ObjectRef[Any]]:
        with self._lock:
            self._check_open()
            for object_id in spec.returns or ():
                self._objects.add_result(object_id, spec.target.name)
        refs = [ObjectRef[Any](object_id, self) for object_id in spec.returns or ()]
        self.submit(spec)
        return refs

    def _run_now(self) -> None:
        self._cancel_doomed()
        try:
            self._run_what_can_start()
        except BaseException as error:  # Ctrl-C: show where in the task, not where in the engine
            raise error.with_traceback(without_own_frames(error.__traceback__))  # noqa: B904

    def cancel(self, ref: ObjectRef[Any], force: bool, recursive: bool = True) -> bool:
        below: list[TaskId] = []
        with self._lock:
            task_id = self._calls.maker_of(ref._id)
            if recursive and self._calls.running(task_id) is not None:
                below = self.lineage.cancel(task_id)
        cancelled = self.cancel_call(task_id)
        for child in below:
            self.cancel_call(child)
        return cancelled

    def cancel_call(self, task_id: TaskId) -> bool:
        """Cancel one call; False if it has ended, or cannot be interrupted."""
        with self._lock:
            waiting = self._calls.claim(task_id)
            running = self._calls.running(task_id) if waiting is None else None
            actor = self._actors.get(running.actor) if running is not None else None
            if actor is not None and actor.loop is not None:
                self._cancelled.add(task_id)
                actor.loop.cancel(task_id)
                return True
        if waiting is None:
            return False  # it has ended; or it runs in another thread and cannot be interrupted
        self._end(waiting, failed(TaskCancelledError(waiting.target.name)))
        self._run_what_can_start()
        return True

    def _cancel_doomed(self) -> None:
        """Cancel what was started by what is cancelled, or what a failure takes with it."""
        while True:
            with self._lock:
                if not self.lineage.doomed:
                    return
                task_id = self.lineage.doomed.popleft()
            self.cancel_call(task_id)

    def kill(self, actor: ActorId, *, may_restart: bool = False) -> None:
        if may_restart:
            raise InvalidOptionError(
                "kill(no_restart=False) ends the process of an actor, which the inline engine has"
                " not: use the embedded one, flame.init('embedded')"
            )
        self._end_actor(actor, "it was ended by flame.kill()")
        self._run_what_can_start()

    def exit_actor(self) -> NoReturn:
        with self._lock:
            spec = self._calls.running(self.current_task())
        if spec is None or not spec.actor:
            super().exit_actor()
        raise ActorExit

    def _end_actor(self, actor: ActorId, how: str) -> None:
        """An actor is dead. Runs user code: the instance's __del__."""
        with self._lock:
            doomed = self._actors.get(actor)
            if doomed is None or doomed.how_it_died:
                return
            doomed.how_it_died = how
            stored = self._objects.get(actor)
            if stored is not None:
                stored.states = "dead", "dead", "dead"
        self._unname(actor)
        doomed.move_out()

    def _unname(self, actor: ActorId) -> None:
        """An actor is dead: its name is free, and it need not be kept for that."""
        with self._lock:
            naming = self._names.forget(actor)
        if naming is not None and naming.detached:
            self.ref_events.append(actor)

    def has_died(self, actor: ActorId) -> bool:
        with self._lock:
            known = self._actors.get(actor)
            return known is not None and bool(known.how_it_died or known.failure)

    # --- objects ---

    def put(self, packed: Packed) -> ObjectRef[Any]:
        self._take_ref_events()
        object_id = self.new_id()
        with self._lock:
            self._check_open()
            self._objects.add_value(object_id, packed)
        return ObjectRef(object_id, self)

    def get(self, refs: Sequence[ObjectRef[Any]], deadline: Deadline) -> list[Any]:
        self._take_ref_events()
        try:
            return [self._value_of(ref, refs, deadline) for ref in refs]
        except BaseException as error:
            # The same error, with this function as its only frame of ours.
            raise error.with_traceback(without_own_frames(error.__traceback__))  # noqa: B904

    def wait(
        self, refs: Sequence[ObjectRef[Any]], num_returns: int, deadline: Deadline
    ) -> set[ObjectId]:
        self._take_ref_events()
        stored = {ref._id: self._find(ref) for ref in refs}
        with self._changed:
            while True:
                done = {object_id for object_id, entry in stored.items() if entry.done}
                if len(done) >= num_returns or deadline.expired():
                    return done
                self._check_not_closed_meanwhile()
                if deadline.seconds is None:
                    stack = task_stack.get()
                    cycles = [self._calls.cycle(stack, other) for other in stored.keys() - done]
                    if all(cycles):
                        raise DeadlockError(cycles[0])
                self._changed.wait(deadline.remaining())

    def free(self, refs: Sequence[ObjectRef[Any]]) -> None:
        self._take_ref_events()
        gone: dict[ObjectId, StoredObject] = {}
        with self._lock:
            self._check_open()
            for ref in refs:
                gone.update(self._objects.drop(ref._id))
            actors = self._remove_actors(gone)
        _bury(gone, actors)

    def is_kept(self, object_id: ObjectId) -> bool:
        self._take_ref_events()
        return self._objects.get(object_id) is not None

    def is_done(self, ref: ObjectRef[Any]) -> bool:
        return self._find(ref).done

    def on_done(self, ref: ObjectRef[Any], callback: Callback) -> None:
        with self._lock:
            stored = self._objects.get(ref._id) if not self._closed else None
            if stored is not None and not stored.done:
                stored.callbacks.append((callback, ref))
                return
        _call_back(callback, ref)

    # --- knowing ---

    @property
    def lock(self) -> threading.Lock:
        """What guards the tables."""
        return self._lock

    def open_scope(self, deadline: float | None, *, stops: bool) -> InlineScope:
        return InlineScope(self, deadline, stops=stops)

    def wait_for_calls(self, task_ids: Sequence[TaskId], deadline: Deadline) -> None:
        """Wait until calls have ended, or until the deadline."""
        with self._changed:
            while any(map(self._calls.is_unfinished, task_ids)) and not deadline.expired():
                self._check_not_closed_meanwhile()
                self._changed.wait(deadline.remaining())

    def explain(self, ref: ObjectRef[Any]) -> str:
        self._find(ref)
        self._take_ref_events()
        with self._lock:
            return self._view().explain(ref._id)

    def snapshot(self) -> Snapshot:
        self._take_ref_events()
        with self._lock:
            return self._view().snapshot(self._sites)

    def call_facts(self) -> CallFacts:
        with self._lock:
            deadline = self.lineage.deadline_of(self.current_parent())
            return self._view().facts_of(self.current_task(), deadline)

    def is_cancelled(self) -> bool:
        return self.current_task() in self._cancelled

    def timeline(self) -> Timeline:
        return self._timeline or super().timeline()

    def save_failed_calls(self, folder: str | None) -> None:
        self._failed_calls = None if folder is None else BundleWriter(folder)

    def _view(self) -> View:
        return View(self._objects, self._calls, self._actors, self._names)

    def _note_span(self, spec: TaskSpec, began: float) -> None:
        if self._timeline is not None:
            about = {"task": _ids.show(spec.id), "attempt": 1}
            if spec.parent:
                about["parent"] = _ids.show(spec.parent)
            pid, thread = os.getpid(), threading.get_native_id()
            self._timeline.add(
                Span(spec.target.name, pid, thread, began, time.perf_counter(), about)
            )

    def _note_sites(self, sites: CreationSites) -> None:
        """Have the lines noted that call `submit` and `put`; who does not want it pays nothing."""
        submit, put = self.submit, self.put

        def noted(ref: ObjectRef[Any], site: str) -> ObjectRef[Any]:
            sites.note(ref._id, site)
            return ref

        self.submit = lambda spec: noted(submit(spec), line_of_the_user())  # type: ignore[method-assign]
        self.put = lambda packed: noted(put(packed), line_of_the_user())  # type: ignore[method-assign]

    def _save_failed(self, spec: TaskSpec, data: bytes) -> None:
        """Save a call that has failed, while what it took is still there."""
        writer = self._failed_calls
        if writer is None or not writer.is_worth_saving(data):
            return

        def load(object_ids: Iterable[ObjectId]) -> list[Any]:
            found = [self._objects.get(object_id) for object_id in object_ids]
            return [stored.load() for stored in found if stored is not None]

        actor = self._actors.get(spec.actor)
        writer.save(spec, actor.creation if actor is not None else None, data, load)

    # --- the engine ---

    def describe(self, ref: ObjectRef[Any]) -> str:
        stored = self._objects.get(ref._id)
        return stored.describe() if stored is not None else f"object {_ids.show(ref._id)}"

    def resources(self) -> Mapping[str, float]:
        return dict(self._resources)

    def close(self) -> None:
        self._take_ref_events()
        with self._lock:
            self._closed = True
            callbacks = self._objects.empty()
            actors = list(self._actors.values())
            self._actors.clear()
            self._changed.notify_all()
        unregister_engine(self)
        for actor in actors:
            actor.move_out()
        for callback, ref in callbacks:
            _call_back(callback, ref)

    # --- running ---

    def _run_what_can_start(self) -> None:
        while (spec := self._next_to_run_here()) is not None:
            self._run(spec)

    def _next_to_run_here(self) -> TaskSpec | None:
        """Claim the next call that can start; pass on those that have a thread of their own."""
        while True:
            with self._lock:
                spec = None if self._closed else self._calls.claim_next()
                actor = self._actors.get(spec.actor) if spec is not None else None
                loop = actor.loop if actor is not None and not actor.how_it_died else None
                if spec is None or loop is None:
                    return spec
                # In the order of the calls, thus under the lock.
                loop.call_soon(partial(self._run_on_loop, spec, loop))

    def _run(self, spec: TaskSpec) -> None:
        """Run one call in this thread, whatever happens to it, and note how it ended."""
        content: Content | None = None
        value: Any = None
        began = time.perf_counter()
        before = task_stack.set((*task_stack.get(), spec.id))
        try:
            with self._environment_of(spec):
                prepared = self._executor.prepare(spec)
                if isinstance(prepared, Outcome):
                    content = prepared
                    return
                succeeded, value = execute(*prepared)
                if succeeded and is_coroutine(value):
                    succeeded, value = run_coroutine(value)
            if not succeeded and ends_the_program(value):
                raise value
            content = self._executor.conclude(spec, succeeded, value)
        finally:
            # An error holds its frames, and through them this one and the ref that our caller
            # returns: without a circle all of that is gone at once.
            value = None
            task_stack.reset(before)
            self._note_span(spec, began)
            if content is None:  # Ctrl-C
                content = failed(TaskCancelledError(spec.target.name))
            self._end(spec, content)

    def _environment_of(self, spec: TaskSpec) -> AbstractContextManager[None]:
        """Return what puts on the environment of a call: that of its function, or of its actor."""
        target = spec.target
        actor = self._actors.get(spec.actor)
        if actor is not None and actor.creation is not None:
            target = actor.creation.target
        return _THIS if target.environment is None else put_on(target.environment)

    def _run_on_loop(self, spec: TaskSpec, loop: LoopThread) -> None:
        """Run one call of an actor in the actor's own thread, where it may go on for long."""
        began = time.perf_counter()
        task_stack.set((spec.id,))
        prepared = self._executor.prepare(spec)
        if isinstance(prepared, Outcome):
            self._end_on_loop(spec, prepared, began)
            return
        succeeded, value = execute(*prepared)
        if succeeded and is_coroutine(value):
            loop.start(
                spec.id,
                value,
                lambda succeeded, value: self._end_on_loop(
                    spec, self._executor.conclude(spec, succeeded, value), began
                ),
            )
        else:
            self._end_on_loop(spec, self._executor.conclude(spec, succeeded, value), began)

    def _end_on_loop(self, spec: TaskSpec, content: Content, began: float) -> None:
        self._note_span(spec, began)
        self._end(spec, content)
        following = self._next_to_run_here()
        if following is not None:
            # It waited for this one. It may take long and wait for others on this loop.
            threading.Thread(
                target=self._run_from, args=(following,), name="flame-inline", daemon=True
            ).start()

    def _run_from(self, spec: TaskSpec) -> None:
        self._run(spec)
        self._run_what_can_start()

    def _end(self, spec: TaskSpec, content: Content) -> None:
        """Note how a call ended, and tell everybody who waits for it."""
        if (late := self._limits.lateness(spec)) is not None:
            content = failed(late)
        self._limits.ended(spec.id)
        callbacks: list[tuple[Callback, ObjectRef[Any]]] = []
        fails = False  # to be constructed
        if isinstance(content, Outcome) and content.kind is Kind.FAILED:
            self._save_failed(spec, content.data)
        with self._lock:
            actor = self._actors.get(spec.actor)
            if actor is not None and actor.how_it_died:
                content = failed(died(spec.target.name, actor))
            elif spec.id in self._cancelled:
                content = failed(TaskCancelledError(spec.target.name))
            if not self._closed:
                for place, (object_id, part) in enumerate(parts_of(spec, content)):
                    stored = self._objects.get(object_id)
                    if stored is not None:
                        self._objects.fill(stored, part)
                        stored.was_read |= place > 0  # one report of an error is enough
                        callbacks += stored.callbacks
                        stored.callbacks = []
            constructed = self._actors.get(spec.id)
            if constructed is not None and isinstance(content, Outcome):
                constructed.failure = content.data if content.kind is Kind.FAILED else b""
                fails = bool(constructed.failure)
            self._cancelled.discard(spec.id)
            self._leave_lineage(spec, content)
            gone = self._calls.remove(spec)
            actors = self._remove_actors(gone)
            self._changed.notify_all()
        _bury(gone, actors)
        if fails:
            self._unname(spec.id)
        if actor is not None and actor.exits:
            self._end_actor(spec.actor, actor.exits)
        for callback, ref in callbacks:
            _call_back(callback, ref)
        self._cancel_doomed()

    def _leave_lineage(self, spec: TaskSpec, content: Content) -> None:
        """A call has ended; its failure may end a scope. The caller holds self._lock."""
        if (
            isinstance(content, Outcome)
            and content.kind is Kind.FAILED
            and spec.parent in self.lineage.nodes
            and not was_cancelled(content.data)
            and self.lineage.failed(spec.parent, content.data)
            and (stored := self._objects.get(spec.id)) is not None
        ):
            stored.was_read = True
        self.lineage.ended(spec.id)

    # --- waiting ---

    def _value_of(
        self, ref: ObjectRef[Any], refs: Sequence[ObjectRef[Any]], deadline: Deadline
    ) -> Any:
        stored = self._find(ref)
        if not stored.done:
            self._wait_until_done(ref, stored, refs, deadline)
        stored.was_read = True
        if stored.outcome.kind is Kind.FAILED:
            raise rebuild_error(stored.outcome.data)
        try:
            return stored.load()
        except FlameError:  # a ref of an ended session inside it
            raise
        except (Exception, SystemExit, GeneratorExit) as error:
            failure = cannot_rebuild(f"the value of {stored.name}", "driver", error)
        raise failure

    def _wait_until_done(
        self,
        ref: ObjectRef[Any],
        stored: StoredObject,
        refs: Sequence[ObjectRef[Any]],
        deadline: Deadline,
    ) -> None:
        stack = task_stack.get()
        with self._changed:
            self._calls.block(stack, ref._id)
            try:
                if deadline.seconds is None and (cycle := self._calls.cycle(stack, ref._id)):
                    raise DeadlockError(cycle)
                while not stored.done:
                    self._check_not_closed_meanwhile()
                    if deadline.expired():
                        raise self._timeout(refs, deadline)
                    self._changed.wait(deadline.remaining())
            finally:
                self._calls.unblock(stack)

    def _timeout(self, refs: Sequence[ObjectRef[Any]], deadline: Deadline) -> GetTimeoutError:
        entries = [self._objects.get(ref._id) for ref in refs]
        late = [entry for entry in entries if entry is not None and not entry.done]
        texts = tuple(entry.describe() for entry in late[:10])
        return GetTimeoutError(len(late), len(refs), deadline.seconds or 0.0, texts)

    # --- counts, and the end ---

    def _take_ref_events(self) -> None:
        """Bring the counts up to date; let go of what nobody refers to any more."""
        if not self.ref_events and not self.target_events:
            return
        gone: dict[ObjectId, StoredObject] = {}
        with self._lock:
            code = self._executor.forget(self._targets.take_dead())
            while self.ref_events:
                event = self.ref_events.popleft()
                if event < 0:
                    self._objects.hold((-event,))
                else:
                    gone.update(self._objects.release((event,)))
            actors = self._remove_actors(gone)
        _bury(gone, actors)
        if code:
            del code
            self._take_ref_events()  # of what it closed over

    def _remove_actors(self, gone: Iterable[ObjectId]) -> list[InlineActor]:
        """Take out the actors that nobody refers to. The caller holds self._lock."""
        actors = [actor_id for actor_id in gone if actor_id in self._actors]
        for actor_id in actors:
            self._names.forget(actor_id)
        return [self._actors.pop(actor_id) for actor_id in actors]

    def _find(self, ref: ObjectRef[Any]) -> StoredObject:
        """Return what a ref refers to; reading the table needs no lock."""
        stored = self._objects.get(ref._id) if ref._engine is self and not self._closed else None
        if stored is None:
            raise SessionEndedError(f"an ObjectRef to {ref._engine.describe(ref)}")
        return stored

    def _check_open(self) -> None:
        if self._closed:
            raise EngineClosedError()

    def _check_not_closed_meanwhile(self) -> None:
        if self._closed:
            raise EngineClosedError("flame was shut down while this call waited")


def _bury(gone: Mapping[ObjectId, StoredObject], actors: Iterable[InlineActor]) -> None:
    """Do what the end of objects and actors asks for. Runs user code: the __del__ of instances."""
    for stored in gone.values():
        if stored.outcome.kind is Kind.FAILED and not stored.was_read:
            report_unread(stored.outcome.data)
    for actor in actors:
        actor.move_out()


def _call_back(callback: Callback, ref: ObjectRef[Any]) -> None:
    succeeded, error = execute(callback, (ref,), {})
    if not succeeded:
        if ends_the_program(error):
            raise error
        import logging

        logging.getLogger("flame_remote").error("a done callback of %r raised", ref, exc_info=error)
