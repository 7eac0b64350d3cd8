"""When and where the calls of an inline engine run, and how they are kept from it."""

from __future__ import annotations

import threading
import time
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any, Final

from flame_remote._execute.call import execute, is_coroutine
from flame_remote._execute.coroutines import LoopThread, run_coroutine
from flame_remote._execute.frames import without_own_frames
from flame_remote._ids import ObjectId, TaskId
from flame_remote._outcome import Outcome
from flame_remote._spec import TaskSpec
from flame_remote.exceptions import TaskCancelledError

from .endings import Endings
from .environment import put_on
from .execution import CallExecutor, Content, failed
from .nesting import ends_the_program, task_stack
from .records import Records
from .tables import Tables

_THIS: Final = nullcontext()  # the environment that the process has anyhow


class Runner:
    """Runs each call as soon as nothing keeps it from running. Safe to call from any thread.

    A call runs in the thread that made it or that ended what it waited for; on an actor with
    `async def` methods, in the actor's own.
    """

    def __init__(
        self, tables: Tables, executor: CallExecutor, endings: Endings, records: Records
    ) -> None:
        # Constant after construction.
        self._tables = tables
        self._executor = executor
        self._endings = endings
        self._records = records

    def run_now(self) -> None:
        """Run what can start after a call was submitted."""
        self._cancel_doomed()
        try:
            self.run_what_can_start()
        except BaseException as error:  # Ctrl-C: show where in the task, not where in the engine
            raise error.with_traceback(without_own_frames(error.__traceback__))  # noqa: B904

    def run_what_can_start(self) -> None:
        """Run calls until each that is left has to wait for something."""
        while (spec := self._next_to_run_here()) is not None:
            self._run(spec)

    def _next_to_run_here(self) -> TaskSpec | None:
        """Claim the next call that can start; pass on those that have a thread of their own."""
        tables = self._tables
        while True:
            with tables.lock:
                spec = None if tables.closed else tables.calls.claim_next()
                actor = tables.actors.get(spec.actor) if spec is not None else None
                loop = actor.loop if actor is not None and not actor.how_it_died else None
                if spec is None or loop is None:
                    return spec
                # In the order of the calls, thus under the lock.
                loop.call_soon(partial(self._run_on_loop, spec, loop))

    # --- in this thread ---

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
            self._records.note_span(spec, began)
            if content is None:  # Ctrl-C
                content = failed(TaskCancelledError(spec.target.name))
            self._end(spec, content)

    def _environment_of(self, spec: TaskSpec) -> AbstractContextManager[None]:
        """Return what puts on the environment of a call: that of its function, or of its actor."""
        target = spec.target
        actor = self._tables.actors.get(spec.actor)
        if actor is not None and actor.creation is not None:
            target = actor.creation.target
        return _THIS if target.environment is None else put_on(target.environment)

    def _end(self, spec: TaskSpec, content: Content) -> None:
        self._endings.end(spec, content)
        self._cancel_doomed()

    # --- in the thread of an actor ---

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
        self._records.note_span(spec, began)
        self._end(spec, content)
        following = self._next_to_run_here()
        if following is not None:
            # It waited for this one. It may take long and wait for others on this loop.
            threading.Thread(
                target=self._run_from, args=(following,), name="flame-inline", daemon=True
            ).start()

    def _run_from(self, spec: TaskSpec) -> None:
        self._run(spec)
        self.run_what_can_start()

    # --- kept from running ---

    def cancel(self, object_id: ObjectId, *, recursive: bool) -> bool:
        """Cancel the call that makes an object; with `recursive` also what it has started.

        Returns False if it has ended, or cannot be interrupted.
        """
        below: list[TaskId] = []
        tables = self._tables
        with tables.lock:
            task_id = tables.calls.maker_of(object_id)
            if recursive and tables.calls.running(task_id) is not None:
                below = tables.lineage.cancel(task_id)
        cancelled = self.cancel_call(task_id)
        for child in below:
            self.cancel_call(child)
        return cancelled

    def cancel_call(self, task_id: TaskId) -> bool:
        """Cancel one call; False if it has ended, or cannot be interrupted."""
        tables = self._tables
        with tables.lock:
            waiting = tables.calls.claim(task_id)
            running = tables.calls.running(task_id) if waiting is None else None
            actor = tables.actors.get(running.actor) if running is not None else None
            if actor is not None and actor.loop is not None:
                tables.cancelled.add(task_id)
                actor.loop.cancel(task_id)
                return True
        if waiting is None:
            return False  # it has ended; or it runs in another thread and cannot be interrupted
        self._end(waiting, failed(TaskCancelledError(waiting.target.name)))
        self.run_what_can_start()
        return True

    def _cancel_doomed(self) -> None:
        """Cancel what was started by what is cancelled, or what a failure takes with it."""
        doomed = self._tables.lineage.doomed
        while doomed:  # looked at without the lock: whoever adds to it comes here afterwards
            with self._tables.lock:
                if not doomed:
                    return
                task_id = doomed.popleft()
            self.cancel_call(task_id)
