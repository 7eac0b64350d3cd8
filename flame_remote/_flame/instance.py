"""The actor that lives in a worker: its instance, and its calls, one at a time or several."""

from __future__ import annotations

import contextvars
import threading
from collections import deque
from collections.abc import Callable
from functools import partial
from time import perf_counter
from typing import Any

from flame_remote._execute.call import execute, has_async_methods, is_coroutine
from flame_remote._execute.coroutines import LoopThread
from flame_remote._execute.failure import add_needed_by, encode_error
from flame_remote._execute.iterations import Iterations
from flame_remote._ids import TaskId
from flame_remote._outcome import Kind
from flame_remote.exceptions import ActorDiedError, TaskCancelledError

from .batch import CallEntry, TargetEntry
from .in_time import InTime
from .running import Finished, Runner, Unloadable, current_call, failed

Ended = Callable[[Finished], None]  # may be called in any thread

_LOST = "the process it lived in was lost"
_OVER = "nothing refers to it any more"


class Instance:
    """The one actor of this process. Safe to call from any thread.

    Its code runs in threads of its own, so that a reply can be sent while a call goes on: calls one
    after the other in one thread, or, with `async def` methods, all of them on one event loop.
    """

    def __init__(self, runner: Runner) -> None:
        self._runner = runner
        self._lock = threading.Lock()
        # Guarded by self._lock.
        self._waiting: deque[tuple[CallEntry, Ended]] = deque()
        self._running = 0
        self._limit = 1
        self._unwanted: set[TaskId] = set()
        self._on_loop: dict[TaskId, Ended] = {}
        # Written by the construction, before any other call begins.
        self._instance: Any = None
        self._iterations = Iterations()  # of its generator methods
        self._name = ""
        self._failure = b""
        self._how_it_died = _LOST
        self._loop: LoopThread | None = None

    @property
    def runs_several(self) -> bool:
        """Whether calls may go on beside each other."""
        return self._limit > 1

    def start(self, entry: CallEntry, ended: Ended) -> None:
        """Begin a call, or queue it behind those that run."""
        with self._lock:
            self._waiting.append((entry, ended))
            self._begin_what_can()

    def cancel(self, task_ids: tuple[TaskId, ...]) -> None:
        """Drop calls that have not begun, and stop those on the event loop."""
        with self._lock:
            known = {entry.id for entry, _ in self._waiting}
            self._unwanted.update(known.intersection(task_ids))
            running = [task_id for task_id in task_ids if task_id in self._on_loop]
        if self._loop is not None:
            for task_id in running:
                self._loop.cancel(task_id)

    def end(self) -> None:
        """Let go of the instance, so that its own clean-up runs; end its calls. Blocks."""
        done = threading.Event()
        loop = self._loop

        def let_go() -> None:
            self._how_it_died = _OVER
            self._iterations.clear()
            self._instance = None
            done.set()

        if loop is not None:
            self._loop = None
            loop.close()
            let_go()
            return
        with self._lock:
            idle = not self._running and not self._waiting
        threading.Thread(target=let_go, name="flame-actor").start() if idle else let_go()
        done.wait()

    # --- which call runs ---

    def _begin_what_can(self) -> None:
        """Start calls up to the limit, in their order. The caller holds self._lock."""
        while self._waiting and self._running < self._limit:
            entry, ended = self._waiting.popleft()
            self._running += 1
            loop = self._loop
            if loop is None:
                context = contextvars.Context()
                run = partial(context.run, partial(self._run, entry, ended))
                threading.Thread(target=run, name="flame-actor", daemon=True).start()
            else:
                loop.call_soon(partial(self._run_on_loop, entry, ended, loop))

    def _run(self, entry: CallEntry, ended: Ended) -> None:
        """Run calls in this thread, one after the other, until none is left for it."""
        while True:
            ended = self._in_time(entry, ended)
            finished = self._unfit(entry) or self._runner.run(
                entry, partial(self._callee, entry.target_id)
            )
            self._note_failed_construction(entry, finished)
            ended(finished)
            del finished
            with self._lock:
                self._running -= 1
                if not self._waiting or self._loop is not None or self._running >= self._limit:
                    self._begin_what_can()
                    return
                entry, ended = self._waiting.popleft()
                self._running += 1
                if self._limit > 1:
                    self._begin_what_can()

    def _in_time(
        self, entry: CallEntry, ended: Ended, on_late: Callable[[], object] = lambda: None
    ) -> Ended:
        """Return what is told of the end of a call that begins now, and tells `ended` in time."""
        if entry.timeout is None:
            return ended
        return InTime(self._runner, entry, entry.timeout, ended, on_late)

    def _run_on_loop(self, entry: CallEntry, ended: Ended, loop: LoopThread) -> None:
        current_call.set(entry)
        ended = self._in_time(entry, ended, partial(loop.cancel, entry.id))
        unfit = self._unfit(entry)
        if unfit is not None:
            self._end_on_loop(ended, unfit)
            return
        runner, started = self._runner, perf_counter()
        try:
            callee, args, kwargs = runner.prepare(entry, partial(self._callee, entry.target_id))
        except Unloadable as unloadable:
            self._end_on_loop(ended, runner.finish(entry, started, False, unloadable))
            return
        succeeded, value = execute(callee, args, kwargs)
        if succeeded and is_coroutine(value):
            with self._lock:
                self._on_loop[entry.id] = ended
            loop.start(entry.id, value, partial(self._coroutine_ended, entry, ended, started))
        else:
            self._end_on_loop(ended, runner.finish(entry, started, succeeded, value, callee))

    def _coroutine_ended(
        self, entry: CallEntry, ended: Ended, started: float, succeeded: bool, value: Any
    ) -> None:
        with self._lock:
            del self._on_loop[entry.id]
        self._end_on_loop(ended, self._runner.finish(entry, started, succeeded, value))

    def _end_on_loop(self, ended: Ended, finished: Finished) -> None:
        ended(finished)
        with self._lock:
            self._running -= 1
            self._begin_what_can()

    # --- what a call calls ---

    def _unfit(self, entry: CallEntry) -> Finished | None:
        """Return the end of a call that must not be run."""
        target = self._runner.code.entry(entry.target_id)
        with self._lock:
            if entry.id in self._unwanted:
                self._unwanted.remove(entry.id)
                return failed(entry, encode_error(TaskCancelledError(target.name)))
        if target.method and self._failure:
            return failed(entry, add_needed_by(self._failure, target.name))
        if target.method and self._instance is None:
            name = self._name or target.name.rpartition(".")[0] or target.name
            return failed(entry, encode_error(ActorDiedError(name, self._how_it_died)))
        return None

    def _callee(self, target_id: int) -> Callable[..., Any]:
        target = self._runner.code.entry(target_id)
        if target.method:
            return self._iterations.find(self._instance, target.method)
        return partial(self._construct, target, self._runner.code.load(target_id))

    def _construct(self, target: TargetEntry, cls: type, /, *args: Any, **kwargs: Any) -> None:
        self._name = target.name
        instance = cls(*args, **kwargs)
        if has_async_methods(cls):
            self._loop = LoopThread(f"flame-{target.name}")
        self._limit = target.max_concurrency
        self._instance = instance

    def _note_failed_construction(self, entry: CallEntry, finished: Finished) -> None:
        target = self._runner.code.entry(entry.target_id)
        if not target.method and finished.result.kind == Kind.FAILED:
            self._failure = finished.result.data
