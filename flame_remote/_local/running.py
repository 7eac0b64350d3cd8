"""From a task entry to its result, in the worker: load, call, pack."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any, Final

from flame_remote._execute.actor_exit import ActorExit, how_it_exits
from flame_remote._execute.attempts import Again, Attempts
from flame_remote._execute.call import execute, has_async_methods, is_coroutine
from flame_remote._execute.failure import encode_error, encode_failure
from flame_remote._execute.iterations import Iterations, method_in
from flame_remote._execute.result import cannot_rebuild, pack_result
from flame_remote._execute.several import Several, TakenApart
from flame_remote._ids import ObjectId, TaskId
from flame_remote._outcome import Kind, Outcome
from flame_remote._spec import TargetKind
from flame_remote._wire.arguments import unpack_arguments
from flame_remote._wire.packing import is_atom, unpack
from flame_remote.exceptions import (
    ActorDiedError,
    FlameError,
    ObjectFreedError,
    SerializationError,
    TaskCancelledError,
    WorkerStartError,
)

from .arena import Extent
from .concurrency import AsyncCalls, Calls, ThreadedCalls
from .keeping import StateKeeper
from .messages import About, Exit, LoadTarget, ResultEntry, TaskEntry, Value
from .output import TaskOutput
from .revival import STATE_PLACE
from .shelter import Struck
from .values import Opened, Storage, open_values
from .worker import Worker, current_task

_NO_STATE: Final = object()
_AGAIN: Final = int(Kind.AGAIN)


class Unloadable(Exception):
    """Code or arguments that could not be rebuilt; holds the error for the caller."""

    def __init__(self, error: FlameError) -> None:
        super().__init__(error)
        self.error = error


class Runner:
    """Runs task entries in this worker. Main thread, unless a method says otherwise."""

    def __init__(
        self, worker: Worker, storage: Storage, keep_state: Callable[[Any, str], None]
    ) -> None:
        """`keep_state` is given the state of the actor that lives here, and what it is in words."""
        self._worker = worker
        self._link = worker.link
        self._shelter = worker.shelter
        self._storage = storage
        self._abouts = worker.abouts
        self._targets: dict[int, LoadTarget] = {}
        self._functions: dict[int | str, Callable[..., Any]] = {}
        self._keep_state = keep_state
        self._instance: Any = None  # of the actor that lives here
        self._keeper: StateKeeper | None = None  # of its state, if that is kept
        self._iterations = Iterations()  # of its generator methods
        self._actor_name = ""
        self._calls: Calls | None = None  # if that actor runs several calls at a time
        self._awaited: AsyncCalls | None = None  # runs coroutines of calls that run alone
        self._running_target: int | str = 0
        self._outputs: tuple[TaskOutput, ...] = ()
        # Any thread.
        self._names: dict[TaskId, str] = {}  # of calls that run beside others
        worker.load_target = self.add_target
        worker.unload_target = self.remove_target
        worker.run = self.run

    def add_target(self, target: LoadTarget) -> None:
        """Note code that tasks will name; it is loaded by the first of them."""
        self._targets[target.target_id] = target
        if target.kind == TargetKind.ACTOR.value:
            self._worker.gives_back = False

    def remove_target(self, target_id: int) -> None:
        """Forget code that no task will name."""
        self._targets.pop(target_id, None)
        self._functions.pop(target_id, None)

    def write_to(self, outputs: tuple[TaskOutput, ...]) -> None:
        """Tell where tasks print."""
        self._outputs = outputs

    def close(self) -> None:
        """Let go of the instance that lives here, so that its own clean-up runs."""
        self._functions.clear()
        self._iterations.clear()
        self._instance = self._keeper = None
        if self._awaited is not None:
            self._awaited.close()

    @property
    def has_instance(self) -> bool:
        """Whether an actor lives here, and has been constructed."""
        return self._instance is not None

    def current_name(self) -> str:
        """Return the name of the task that the calling code runs in. Any thread."""
        name = self._names.get(current_task.get())
        if name is None and self._worker.running:
            name = self.name_of(self._running_target)
        return name or ""

    def name_of(self, target_id: int | str) -> str:
        """Return a target's name for people."""
        if target_id == "__call__":  # of the function that is the instance here
            return self._actor_name
        if isinstance(target_id, str):
            return f"{self._actor_name}.{method_in(target_id)}"
        return self._targets[target_id].name

    # --- one task -----------------------------------------------------------------------

    def run(self, entry: TaskEntry) -> None:
        """Run one task to its end, or start it if the actor here runs several at a time.

        Sheltered; the task is exposed while its own code runs. Never raises.
        """
        task_id, target_id, payload, dependencies, at_once = entry
        worker, link, shelter = self._worker, self._link, self._shelter
        if self._calls is not None:
            if shelter.take(task_id):
                worker.drop(entry)
            else:
                self._calls.start(entry)
            return
        if at_once and link.outbox:
            link.keep_results()
        worker.start_task(task_id)
        current_task.set(task_id)
        self._running_target = target_id
        started = time.perf_counter()
        try:
            function = self._functions.get(target_id)
            if function is None or dependencies or type(payload) is not tuple or self._abouts:
                started, (succeeded, value) = self._prepare_and_call(entry)
            else:
                # The common call, in as few steps as can be (benchmarks: submit of no-op tasks).
                shelter.exposed = task_id
                if shelter.wanted:
                    shelter.strike()
                succeeded, value = execute(function, payload, {})
            shelter.exposed = 0
        except Struck as error:  # between the lines above
            succeeded, value = False, error
        if succeeded and is_atom(value):
            result: ResultEntry = (task_id, 1, value, ())
            keep = None
        else:
            if succeeded and is_coroutine(value):
                succeeded, value = self._await(task_id, value)
            result, keep = self._pack(task_id, target_id, succeeded, value)
            del value  # an error refers to this frame: a cycle, and in it what the task had
        worker.running = 0
        for output in self._outputs:
            if output.partial:
                output.end_task()
        link.end_task(result, keep, started, target_id if type(target_id) is int else 0)
        if result[1] == _AGAIN:  # it may come back, and has not started then
            link.flush()
            worker.forget_started()

    def _prepare_and_call(self, entry: TaskEntry) -> tuple[float, tuple[bool, Any]]:
        """Return when the call began, and what `execute` answers. Leaves the task exposed."""
        try:
            opened = self._open_arguments(entry)
            self._shelter.expose(entry[0])
            function, args, kwargs = self._rebuild(entry, opened)
        except Unloadable as unloadable:
            return time.perf_counter(), (False, unloadable)
        # Kept in no variable; see `run`.
        return time.perf_counter(), execute(function, args, kwargs)

    def prepare(self, entry: TaskEntry) -> tuple[Callable[..., Any], tuple[Any, ...], Any]:
        """Return the function and its arguments. Runs code of the user's values. Any thread.

        Raises Unloadable.
        """
        return self._rebuild(entry, self._open_arguments(entry))

    def open(self, values: Iterable[tuple[ObjectId, int, Any]]) -> list[Opened]:
        """Open values that came in a message, to be rebuilt by whoever may run their code.

        Any thread, the main one sheltered.
        """
        with self._link.turn:
            return open_values(values, self._worker.mappings, self._link.counts.unpinned)

    def _open_arguments(self, entry: TaskEntry) -> list[Opened]:
        dependencies = entry[3]
        if not dependencies:
            return []
        try:
            return self.open([dependency[1:] for dependency in dependencies])
        except Exception as error:
            raise self._unloadable_argument(entry, error) from None

    def _rebuild(
        self, entry: TaskEntry, opened: Sequence[Opened]
    ) -> tuple[Callable[..., Any], tuple[Any, ...], Any]:
        _, target_id, payload, dependencies, _ = entry
        function = self._function(target_id)
        try:
            places = [place for place, *_ in dependencies]
            values = [value.load() for value in opened]
            args, kwargs = unpack_arguments(payload, zip(places, values, strict=True))
        except Struck:
            raise
        except BaseException as error:
            raise self._unloadable_argument(entry, error) from None
        if self._abouts and (about := self._abouts.pop(entry[0], None)) is not None:
            function = self._with(function, about, target_id)
        return function, args, kwargs

    def _with(
        self, function: Callable[..., Any], about: About, target_id: int | str
    ) -> Callable[..., Any]:
        """Return what is called in place of a function, as the call asks."""
        inner = function.__wrapped__ if isinstance(function, Attempts) else function
        if about.returns is not None:
            inner = TakenApart(inner, about.returns, self.name_of(target_id))
        if isinstance(function, Attempts):
            return function.numbered(len(about.failures) + 1, about.failures, inner)
        return inner

    def _unloadable_argument(self, entry: TaskEntry, error: BaseException) -> Unloadable:
        return Unloadable(_rebuild_error(f"an argument of {self.name_of(entry[1])}()", error))

    def _function(self, target_id: int | str) -> Callable[..., Any]:
        function = self._functions.get(target_id)
        if function is None:
            if isinstance(target_id, str):
                function = self._iterations.find(self._instance, target_id)
                if self._keeper is not None:
                    function = self._keeper.around(function)
            else:
                function = self._load_code(self._targets[target_id])
            self._functions[target_id] = function
        return function

    def _load_code(self, target: LoadTarget) -> Callable[..., Any]:
        if self._worker.folder_to_enter:
            self._enter_folder()
        if target.path is not None:
            sys.path[:] = [*self._worker.path_first, *target.path]
        is_actor = target.kind == TargetKind.ACTOR.value
        try:
            code = unpack(target.code)
        except Struck:
            raise
        except BaseException as error:
            what = "class" if is_actor else "function"
            raise Unloadable(_rebuild_error(f"the {what} {target.name}", error)) from None
        if is_actor:
            return partial(self._construct, target, code)
        return code  # type: ignore[no-any-return]

    def _enter_folder(self) -> None:
        """Go where the environment of this process wants its calls to be."""
        try:
            os.chdir(self._worker.folder_to_enter)
        except OSError as error:
            reason = f"the working_dir of their runtime_env cannot be entered: {error}"
            raise Unloadable(WorkerStartError(reason)) from None
        self._worker.folder_to_enter = ""

    def _construct(self, target: LoadTarget, cls: type, /, *args: Any, **kwargs: Any) -> None:
        """Make the one instance that lives in this worker."""
        self._actor_name = target.name
        state = kwargs.pop(STATE_PLACE, _NO_STATE)
        instance: Any = cls(*args, **kwargs)
        if state is not _NO_STATE:
            instance.__flame_restore__(state)
        if target.checkpoint_every:
            name = f"the state that {target.name}.__flame_checkpoint__() returned"
            self._keeper = StateKeeper(
                instance.__flame_checkpoint__,
                target.checkpoint_every,
                lambda state: self._keep_state(state, name),
            )
        self._instance = instance
        if has_async_methods(cls):
            self._calls = AsyncCalls(self, self._worker, _limits(target))
        elif target.max_concurrency > 1:
            self._calls = ThreadedCalls(self, self._worker, _limits(target))
        if self._calls is not None:
            self._worker.interrupt_call = self._calls.interrupt
            self._worker.serve_calls = self._calls.serve

    def _await(self, task_id: TaskId, coroutine: Any) -> tuple[bool, Any]:
        if self._awaited is None:
            self._awaited = AsyncCalls(self, self._worker, {"": 1})
        self._worker.interrupt_call = self._awaited.interrupt
        try:
            if self._shelter.take(task_id):  # a cancel that came before that
                coroutine.close()
                return False, Struck()
            return self._awaited.run(task_id, coroutine)
        finally:
            self._worker.interrupt_call = _cannot_interrupt

    def group_of(self, task_id: TaskId) -> str:
        """Return the concurrency group of a call that has not begun, "" for none. Any thread."""
        about = self._abouts.get(task_id)
        return "" if about is None else about.group

    # --- results ------------------------------------------------------------------------

    def begin_call(self, entry: TaskEntry) -> None:
        """Note that a call that runs beside others begins in this thread or coroutine."""
        current_task.set(entry[0])
        self._names[entry[0]] = self.name_of(entry[1])

    def finish_call(self, entry: TaskEntry, succeeded: bool, value: Any) -> None:
        """Send the result of a call that ran beside others. Any thread."""
        # In no variable of this frame: what the result keeps alive must die as it is sent.
        self._link.outbox.append(self._pack(entry[0], entry[1], succeeded, value))
        self._names.pop(entry[0], None)
        self._link.flush()

    def _pack(
        self, task_id: TaskId, target_id: int | str, succeeded: bool, value: Any
    ) -> tuple[ResultEntry, Any]:
        """Return the entry of what a call returned or raised, and what it must keep alive."""
        name = self.name_of(target_id)
        if succeeded:
            try:
                if type(value) is Again:
                    return (task_id, int(Kind.AGAIN), (value.delay, value.failure), ()), None
                if isinstance(value, Several):
                    return self._pack_several(task_id, target_id, value)
                packed = pack_result(value, name, self._functions.get(target_id))
                if isinstance(packed, Outcome):
                    return (task_id, int(packed.kind), packed.data, ()), None
                kind, data = self._storage.store(packed)
                refs = tuple(ref._id for ref in packed.refs)
                return (task_id, int(kind), data, refs), packed.refs
            except FlameError as error:
                return _failed(task_id, encode_error(error)), None
            except BaseException as error:  # of the value's own __reduce__
                value = error
        if isinstance(value, Unloadable):
            return _failed(task_id, encode_error(value.error)), None
        if self._instance is not None and (how := how_it_exits(value, self._instance)):
            self._exit(how)
            if isinstance(value, ActorExit):
                return (task_id, int(Kind.ATOM), None, ()), None
            return _failed(task_id, encode_error(ActorDiedError(self._actor_name, how))), None
        if isinstance(value, Struck):
            return _failed(task_id, encode_error(TaskCancelledError(name))), None
        return _failed(task_id, encode_failure(value, name, task_id, os.getpid())), None

    def _exit(self, how: str) -> None:
        """Let this process end, with its actor: what has not begun here never will. Any thread."""
        self._worker.leave()
        if self._calls is not None:
            self._calls.leave()
        self._link.send(Exit(how))
        self._link.wake()

    def _pack_several(
        self, task_id: TaskId, target_id: int | str, several: Several
    ) -> tuple[ResultEntry, Any]:
        """As `_pack`, of values that become an object each; raises what packing raises."""
        if several.error is not None:
            return _failed(task_id, encode_error(several.error)), None
        name, function = self.name_of(target_id), self._functions.get(target_id)
        packed = [pack_result(value, name, function) for value in several.values]
        outcomes: list[Value] = []
        taken: list[Extent] = []  # all of it, until the last one is stored
        keep: list[Any] = []
        try:
            for one in packed:
                if isinstance(one, Outcome):
                    outcomes.append((int(one.kind), one.data, ()))
                    continue
                new: list[Extent] = []
                kind, data = self._storage.store(one, new)
                taken += new
                outcomes.append((int(kind), data, tuple(ref._id for ref in one.refs)))
                keep.append(one.refs)
        except BaseException:
            self._storage.give_back(taken)
            raise
        return (task_id, int(Kind.SEVERAL), tuple(outcomes), ()), keep


def _limits(target: LoadTarget) -> dict[str, int]:
    """Return how many calls run at a time in each concurrency group, in "" those in none."""
    groups = dict(target.groups)
    return {"": target.max_concurrency - sum(groups.values()), **groups}


def _failed(task_id: TaskId, data: bytes) -> ResultEntry:
    return task_id, int(Kind.FAILED), data, ()


def _cannot_interrupt(task_id: TaskId) -> bool:
    return False


def _rebuild_error(what: str, error: BaseException) -> FlameError:
    if isinstance(error, (SerializationError, ObjectFreedError)):
        return error
    return cannot_rebuild(what, "worker", error)
