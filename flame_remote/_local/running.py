"""From a task entry to its result, in the worker: load, call, pack."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from functools import partial
from typing import Any

from flame_remote._execute.call import execute, is_coroutine
from flame_remote._execute.failure import encode_error, encode_failure
from flame_remote._execute.result import cannot_rebuild, pack_result
from flame_remote._ids import TaskId
from flame_remote._outcome import Kind, Outcome
from flame_remote._spec import TargetKind
from flame_remote._wire.arguments import unpack_arguments
from flame_remote._wire.packing import is_atom, unpack
from flame_remote.exceptions import FlameError, SerializationError, TaskCancelledError

from .concurrency import AsyncCalls, Calls, ThreadedCalls, has_async_methods
from .messages import LoadTarget, ResultEntry, TaskEntry
from .output import TaskOutput
from .values import Storage, open_value
from .worker import Worker, current_task


class Unloadable(Exception):
    """Code or arguments that could not be rebuilt; holds the error for the caller."""

    def __init__(self, error: FlameError) -> None:
        super().__init__(error)
        self.error = error


class Runner:
    """Runs task entries in this worker. Main thread, unless a method says otherwise."""

    def __init__(self, worker: Worker, storage: Storage) -> None:
        self._worker = worker
        self._storage = storage
        self._targets: dict[int, LoadTarget] = {}
        self._functions: dict[int | str, Callable[..., Any]] = {}
        self._instance: Any = None  # of the actor that lives here
        self._actor_name = ""
        self._calls: Calls | None = None  # if that actor runs several calls at a time
        self._awaited: AsyncCalls | None = None  # runs coroutines of calls that run alone
        self._running_target: int | str = 0
        self._outputs: tuple[TaskOutput, ...] = ()
        # Any thread.
        self._names: dict[TaskId, str] = {}  # of calls that run beside others
        worker.load_target = self.add_target
        worker.run = self.run

    def add_target(self, target: LoadTarget) -> None:
        """Note code that tasks will name; it is loaded by the first of them."""
        self._targets[target.target_id] = target
        if target.kind == TargetKind.ACTOR.value:
            self._worker.gives_back = False

    def write_to(self, outputs: tuple[TaskOutput, ...]) -> None:
        """Tell where tasks print."""
        self._outputs = outputs

    def close(self) -> None:
        """Let go of the instance that lives here, so that its own clean-up runs."""
        self._functions.clear()
        self._instance = None

    def current_name(self) -> str:
        """Return the name of the task that the calling code runs in. Any thread."""
        name = self._names.get(current_task.get())
        if name is None and self._worker.running:
            name = self.name_of(self._running_target)
        return name or ""

    def name_of(self, target_id: int | str) -> str:
        """Return a target's name for people."""
        if isinstance(target_id, str):
            return f"{self._actor_name}.{target_id}"
        return self._targets[target_id].name

    # --- one task -----------------------------------------------------------------------

    def run(self, entry: TaskEntry) -> None:
        """Run one task to its end, or start it if the actor here runs several at a time."""
        if self._calls is not None:
            if entry[0] in self._worker.unwanted:
                self._worker.drop(entry)
                return
            self._calls.start(entry)
            return
        task_id, target_id, payload, dependencies, at_once = entry
        worker = self._worker
        if at_once and worker.outbox:
            worker.flush()
        worker.start_task(task_id)
        current_task.set(task_id)
        self._running_target = target_id
        started = time.perf_counter()
        try:
            # Asked after start_task: a cancel that has missed it there is seen here.
            if worker.unwanted and task_id in worker.unwanted:
                raise KeyboardInterrupt
            function = self._functions.get(target_id)
            if function is None or dependencies or type(payload) is not tuple:
                started, succeeded, value = self._prepare_and_call(entry)
            else:
                # The common call, in as few steps as can be (benchmarks: submit of no-op tasks).
                succeeded, value = execute(function, payload, {})
            if succeeded and is_atom(value):
                result: ResultEntry = (task_id, 1, value, ())
                keep = None
            else:
                if succeeded and is_coroutine(value):
                    succeeded, value = self._await(task_id, value)
                result, keep = self._pack(task_id, target_id, succeeded, value)
        except KeyboardInterrupt:  # it came between the lines above
            result, keep = self._cancelled(task_id, target_id), None
        worker.running = 0
        for output in self._outputs:
            if output.partial:
                output.end_task()
        worker.end_task(result, keep, started, target_id if type(target_id) is int else 0)

    def _prepare_and_call(self, entry: TaskEntry) -> tuple[float, bool, Any]:
        try:
            function, args, kwargs = self.prepare(entry)
        except Unloadable as unloadable:
            return time.perf_counter(), False, unloadable
        started = time.perf_counter()
        succeeded, value = execute(function, args, kwargs)
        return started, succeeded, value

    def prepare(self, entry: TaskEntry) -> tuple[Callable[..., Any], tuple[Any, ...], Any]:
        """Return the function and its arguments. Runs code of the user's values. Any thread.

        Raises Unloadable.
        """
        _, target_id, payload, dependencies, _ = entry
        function = self._function(target_id)
        try:
            values = [
                (place, self.load_value(object_id, kind, data))
                for place, object_id, kind, data in dependencies
            ]
            args, kwargs = unpack_arguments(payload, values)
        except (Exception, SystemExit) as error:
            what = f"an argument of {self.name_of(target_id)}()"
            raise Unloadable(_rebuild_error(what, error)) from None
        return function, args, kwargs

    def load_value(self, object_id: int, kind: int, data: Any) -> Any:
        """Rebuild a value that came in a message. Any thread."""
        if kind != Kind.STORED:
            return data if kind == Kind.ATOM else unpack(data)
        release = partial(self._worker.counts.unpinned.append, object_id)
        with self._worker.turn:
            pickled, buffers = open_value(data, self._worker.mappings, release)
        return unpack(pickled, buffers)

    def _function(self, target_id: int | str) -> Callable[..., Any]:
        function = self._functions.get(target_id)
        if function is None:
            if isinstance(target_id, str):
                function = getattr(self._instance, target_id)
            else:
                function = self._load_code(self._targets[target_id])
            self._functions[target_id] = function
        return function

    def _load_code(self, target: LoadTarget) -> Callable[..., Any]:
        if target.path is not None:
            sys.path[:] = target.path
        is_actor = target.kind == TargetKind.ACTOR.value
        try:
            code = unpack(target.code)
        except (Exception, SystemExit) as error:
            what = "class" if is_actor else "function"
            raise Unloadable(_rebuild_error(f"the {what} {target.name}", error)) from None
        if is_actor:
            return partial(self._construct, target, code)
        return code  # type: ignore[no-any-return]

    def _construct(self, target: LoadTarget, cls: type, /, *args: Any, **kwargs: Any) -> None:
        """Make the one instance that lives in this worker."""
        self._actor_name = target.name
        self._instance = cls(*args, **kwargs)
        if has_async_methods(cls):
            self._calls = AsyncCalls(self, self._worker, target.max_concurrency)
        elif target.max_concurrency > 1:
            self._calls = ThreadedCalls(self, self._worker, target.max_concurrency)
        if self._calls is not None:
            self._worker.interrupt_call = self._calls.interrupt
            self._worker.serve_calls = self._calls.serve

    def _await(self, task_id: TaskId, coroutine: Any) -> tuple[bool, Any]:
        if self._awaited is None:
            self._awaited = AsyncCalls(self, self._worker, 1)
        self._worker.interrupt_call = self._awaited.interrupt
        try:
            return self._awaited.run(task_id, coroutine)
        finally:
            self._worker.interrupt_call = _cannot_interrupt

    # --- results ------------------------------------------------------------------------

    def begin_call(self, entry: TaskEntry) -> None:
        """Note that a call that runs beside others begins in this thread or coroutine."""
        current_task.set(entry[0])
        self._names[entry[0]] = self.name_of(entry[1])

    def finish_call(self, entry: TaskEntry, succeeded: bool, value: Any) -> None:
        """Send the result of a call that ran beside others. Any thread."""
        result, keep = self._pack(entry[0], entry[1], succeeded, value)
        self._names.pop(entry[0], None)
        self._worker.outbox.append((result, keep))
        self._worker.flush()

    def _pack(
        self, task_id: TaskId, target_id: int | str, succeeded: bool, value: Any
    ) -> tuple[ResultEntry, Any]:
        """Return the entry of what a call returned or raised, and what it must keep alive."""
        name = self.name_of(target_id)
        if succeeded:
            try:
                packed = pack_result(value, name, self._functions.get(target_id))
                if isinstance(packed, Outcome):
                    return (task_id, int(packed.kind), packed.data, ()), None
                kind, data = self._storage.store(packed)
                refs = tuple(ref._id for ref in packed.refs)
                return (task_id, int(kind), data, refs), packed.refs
            except FlameError as error:
                return _failed(task_id, encode_error(error)), None
            except Exception as error:
                value = error
        if isinstance(value, Unloadable):
            return _failed(task_id, encode_error(value.error)), None
        if self._worker.was_interrupted(task_id) and not isinstance(value, Exception):
            return self._cancelled(task_id, target_id), None  # by KeyboardInterrupt, CancelledError
        return _failed(task_id, encode_failure(value, name, task_id, os.getpid())), None

    def _cancelled(self, task_id: TaskId, target_id: int | str) -> ResultEntry:
        return _failed(task_id, encode_error(TaskCancelledError(self.name_of(target_id))))


def _failed(task_id: TaskId, data: bytes) -> ResultEntry:
    return task_id, int(Kind.FAILED), data, ()


def _cannot_interrupt(task_id: TaskId) -> bool:
    return False


def _rebuild_error(what: str, error: BaseException) -> FlameError:
    return error if isinstance(error, SerializationError) else cannot_rebuild(what, "worker", error)
