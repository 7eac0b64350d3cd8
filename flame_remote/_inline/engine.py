"""The inline engine: runs each call at once, in the thread that makes it.

Arguments, results and stored values go through bytes all the same, so that what works here works
on the other engines too. A call waits only if it takes the result of one that waits, or is made on
an actor that is busy: by the actor itself, or in another thread. The methods of an actor that has
`async def` methods run in a thread of that actor, where they interleave.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import Any

from flame_remote import _ids
from flame_remote._config import Config
from flame_remote._deadline import Deadline
from flame_remote._execute.call import execute, is_coroutine
from flame_remote._execute.coroutines import LoopThread, run_coroutine
from flame_remote._execute.failure import (
    rebuild_error,
)
from flame_remote._execute.frames import without_own_frames
from flame_remote._execute.result import cannot_rebuild
from flame_remote._execute.unread import report_unread
from flame_remote._ids import ActorId, ObjectId, TaskId
from flame_remote._outcome import Kind, Outcome
from flame_remote._refs import ObjectRef, register_engine, unregister_engine
from flame_remote._spec import TargetKind, TaskSpec
from flame_remote._wire.packing import Packed
from flame_remote.engine import Engine
from flame_remote.exceptions import (
    DeadlockError,
    EngineClosedError,
    FlameError,
    GetTimeoutError,
    SessionEndedError,
    TaskCancelledError,
    UnschedulableError,
)

from .actors import InlineActor
from .calls import CallTable
from .execution import CallExecutor, died, failed
from .nesting import ends_the_program, task_stack
from .objects import Callback, ObjectTable, StoredObject


class InlineEngine(Engine):
    """Runs tasks in the calling thread. Safe to call from any thread."""

    def __init__(self, config: Config) -> None:
        # Constant after construction.
        self.session = os.urandom(8).hex()
        self.ref_events: deque[int] = deque()
        self._ids = _ids.id_source(_ids.DRIVER)
        self._resources = config.amounts()
        # Guarded by self._lock. No user code runs while it is held.
        self._lock = threading.Lock()
        self._changed = threading.Condition(self._lock)
        self._closed = False
        self._objects = ObjectTable()
        self._actors: dict[ActorId, InlineActor] = {}
        self._calls = CallTable(self._objects, self._actors)
        self._cancelled: set[TaskId] = set()  # of those that run
        # Runs user code, so never called under the lock.
        self._executor = CallExecutor(self._objects, self._actors)
        register_engine(self)

    # --- tasks ---

    def new_id(self) -> TaskId:
        return next(self._ids)

    def current_task(self) -> TaskId:
        stack = task_stack.get()
        return stack[-1] if stack else 0

    def check_demand(self, name: str, amounts: Mapping[str, float]) -> None:
        for resource, needed in amounts.items():
            available = self._resources.get(resource, 0.0)
            if needed > available:
                raise UnschedulableError(name, resource, needed, available)

    def submit(self, spec: TaskSpec) -> ObjectRef[Any]:
        self._take_ref_events()
        target = spec.target
        with self._lock:
            self._check_open()
            for place, object_id in spec.dependencies:
                if self._objects.get(object_id) is None:
                    raise SessionEndedError(f"argument {place!r} of {target.name}()")
            if target.kind is TargetKind.ACTOR:
                self._objects.add_actor(spec.id, target.name)
                self._actors[spec.id] = InlineActor(target.name, target.max_concurrency)
            else:
                self._objects.add_result(spec.id, target.name)
            self._calls.add(spec)
        ref = ObjectRef[Any](spec.id, self)
        try:
            self._run_what_can_start()
        except BaseException as error:  # Ctrl-C: show where in the task, not where in the engine
            raise error.with_traceback(without_own_frames(error.__traceback__))  # noqa: B904
        return ref

    def cancel(self, ref: ObjectRef[Any], force: bool) -> bool:
        with self._lock:
            waiting = self._calls.claim(ref._id)
            running = self._calls.running(ref._id) if waiting is None else None
            actor = self._actors.get(running.actor) if running is not None else None
            if actor is not None and actor.loop is not None:
                self._cancelled.add(ref._id)
                actor.loop.cancel(ref._id)
                return True
        if waiting is None:
            return False  # it has ended; or it runs in another thread and cannot be interrupted
        self._end(waiting, failed(TaskCancelledError(waiting.target.name)))
        self._run_what_can_start()
        return True

    def kill(self, actor: ActorId) -> None:
        with self._lock:
            doomed = self._actors.get(actor)
            if doomed is None or doomed.how_it_died:
                return
            doomed.how_it_died = "it was ended by flame.kill()"
            stored = self._objects.get(actor)
            if stored is not None:
                stored.states = "dead", "dead", "dead"
        doomed.move_out()
        self._run_what_can_start()

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

    def is_done(self, ref: ObjectRef[Any]) -> bool:
        return self._find(ref).done

    def on_done(self, ref: ObjectRef[Any], callback: Callback) -> None:
        with self._lock:
            stored = self._objects.get(ref._id) if not self._closed else None
            if stored is not None and not stored.done:
                stored.callbacks.append((callback, ref))
                return
        _call_back(callback, ref)

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
        content: Packed | Outcome | None = None
        value: Any = None
        before = task_stack.set((*task_stack.get(), spec.id))
        try:
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
            if content is None:  # Ctrl-C
                content = failed(TaskCancelledError(spec.target.name))
            self._end(spec, content)

    def _run_on_loop(self, spec: TaskSpec, loop: LoopThread) -> None:
        """Run one call of an actor in the actor's own thread, where it may go on for long."""
        task_stack.set((spec.id,))
        prepared = self._executor.prepare(spec)
        if isinstance(prepared, Outcome):
            self._end_on_loop(spec, prepared)
            return
        succeeded, value = execute(*prepared)
        if succeeded and is_coroutine(value):
            loop.start(
                spec.id,
                value,
                lambda succeeded, value: self._end_on_loop(
                    spec, self._executor.conclude(spec, succeeded, value)
                ),
            )
        else:
            self._end_on_loop(spec, self._executor.conclude(spec, succeeded, value))

    def _end_on_loop(self, spec: TaskSpec, content: Packed | Outcome) -> None:
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

    def _end(self, spec: TaskSpec, content: Packed | Outcome) -> None:
        """Note how a call ended, and tell everybody who waits for it."""
        callbacks: list[tuple[Callback, ObjectRef[Any]]] = []
        with self._lock:
            actor = self._actors.get(spec.actor)
            if actor is not None and actor.how_it_died:
                content = failed(died(spec.target.name, actor))
            elif spec.id in self._cancelled:
                content = failed(TaskCancelledError(spec.target.name))
            stored = self._objects.get(spec.id)
            if stored is not None and not self._closed:
                self._objects.fill(stored, content)
                callbacks, stored.callbacks = stored.callbacks, []
            constructed = self._actors.get(spec.id)
            if constructed is not None and isinstance(content, Outcome):
                constructed.failure = content.data if content.kind is Kind.FAILED else b""
            self._cancelled.discard(spec.id)
            gone = self._calls.remove(spec)
            actors = self._remove_actors(gone)
            self._changed.notify_all()
        _bury(gone, actors)
        for callback, ref in callbacks:
            _call_back(callback, ref)

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
        if not self.ref_events:
            return
        gone: dict[ObjectId, StoredObject] = {}
        with self._lock:
            while self.ref_events:
                event = self.ref_events.popleft()
                if event < 0:
                    self._objects.hold((-event,))
                else:
                    gone.update(self._objects.release((event,)))
            actors = self._remove_actors(gone)
        _bury(gone, actors)

    def _remove_actors(self, gone: Iterable[ObjectId]) -> list[InlineActor]:
        """Take out the actors that nobody refers to. The caller holds self._lock."""
        return [self._actors.pop(actor_id) for actor_id in gone if actor_id in self._actors]

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
