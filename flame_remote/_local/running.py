"""From a task entry to its result, in the worker: load, call, pack."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

from flame_remote._execute.attempts import Attempts
from flame_remote._execute.call import execute, has_async_methods, is_coroutine
from flame_remote._execute.several import TakenApart
from flame_remote._ids import ObjectId, TaskId
from flame_remote._outcome import Kind
from flame_remote._wire.arguments import unpack_arguments
from flame_remote._wire.packing import is_atom

from .actor_instance import ActorInstance
from .concurrency import AsyncCalls, Calls, ThreadedCalls
from .loaded_code import LoadedCode, Unloadable
from .messages import About, Exit, LoadTarget, ResultEntry, TaskEntry
from .output import TaskOutput
from .result_packer import ResultPacker
from .shelter import Struck
from .values import Opened, Storage, open_values, unpin
from .worker import Worker, current_task

_AGAIN: Final = int(Kind.AGAIN)


class Runner:
    """Runs task entries in this worker. Main thread, unless a method says otherwise."""

    def __init__(
        self, worker: Worker, storage: Storage, keep_state: Callable[[Any, str], None]
    ) -> None:
        """`keep_state` is given the state of the actor that lives here, and what it is in words."""
        self._worker = worker
        self._link = worker.link
        self._shelter = worker.shelter
        self._abouts = worker.abouts
        self._actor = ActorInstance(keep_state)
        self._code = LoadedCode(worker, self._actor, self._construct)
        self._functions = self._code.functions  # for reading
        self._name_of = self._code.name_of
        self._packer = ResultPacker(self._code, self._actor, storage, self._exit)
        self._calls: Calls | None = None  # if that actor runs several calls at a time
        self._awaited: AsyncCalls | None = None  # runs coroutines of calls that run alone
        self._running_target: int | str = 0
        self._outputs: tuple[TaskOutput, ...] = ()
        # Any thread.
        self._names: dict[TaskId, str] = {}  # of calls that run beside others
        worker.run = self.run
        worker.refuse = self.refuse

    def write_to(self, outputs: tuple[TaskOutput, ...]) -> None:
        """Tell where tasks print."""
        self._outputs = outputs

    def close(self) -> None:
        """Let go of the instance that lives here, so that its own clean-up runs."""
        self._code.close()
        self._actor.close()
        if self._awaited is not None:
            self._awaited.close()

    @property
    def has_instance(self) -> bool:
        """Whether an actor lives here, and has been constructed."""
        return self._actor.exists

    def current_name(self) -> str:
        """Return the name of the task that the calling code runs in. Any thread."""
        name = self._names.get(current_task.get())
        if name is None and self._worker.running:
            name = self._name_of(self._running_target)
        return name or ""

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
            result, keep = self._packer.pack(task_id, target_id, succeeded, value)
            del value  # an error refers to this frame: a cycle, and in it what the task had
        worker.running = 0
        for output in self._outputs:
            if output.partial:
                output.end_task()
        link.end_task(result, keep, started, target_id if type(target_id) is int else 0)
        if result[1] == _AGAIN:  # it may come back, and has not started then
            link.flush()
            worker.forget_started()

    def refuse(self, entry: TaskEntry, error: Exception) -> None:
        """End a task with an error before it starts. Main thread, sheltered."""
        unpin([argument[1:] for argument in entry[3]], self._link.counts.unpinned)
        self._abouts.pop(entry[0], None)
        self._link.outbox.append(self._packer.pack(entry[0], entry[1], False, error))

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
        function = self._code.function(target_id)
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
            inner = TakenApart(inner, about.returns, self._name_of(target_id))
        if isinstance(function, Attempts):
            return function.numbered(len(about.failures) + 1, about.failures, inner)
        return inner

    def _unloadable_argument(self, entry: TaskEntry, error: BaseException) -> Unloadable:
        return Unloadable.of(f"an argument of {self._name_of(entry[1])}()", error)

    def _construct(self, target: LoadTarget, cls: type, /, *args: Any, **kwargs: Any) -> None:
        """Make the one instance that lives in this worker."""
        self._actor.construct(target, cls, args, kwargs)
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
        self._names[entry[0]] = self._name_of(entry[1])

    def finish_call(self, entry: TaskEntry, succeeded: bool, value: Any) -> None:
        """Send the result of a call that ran beside others. Any thread."""
        # In no variable of this frame: what the result keeps alive must die as it is sent.
        self._link.outbox.append(self._packer.pack(entry[0], entry[1], succeeded, value))
        self._names.pop(entry[0], None)
        self._link.flush()

    def _exit(self, how: str) -> None:
        """Let this process end, with its actor: what has not begun here never will. Any thread."""
        self._worker.leave()
        if self._calls is not None:
            self._calls.leave()
        self._link.send(Exit(how))
        self._link.wake()


def _limits(target: LoadTarget) -> dict[str, int]:
    """Return how many calls run at a time in each concurrency group, in "" those in none."""
    groups = dict(target.groups)
    return {"": target.max_concurrency - sum(groups.values()), **groups}


def _cannot_interrupt(task_id: TaskId) -> bool:
    return False
