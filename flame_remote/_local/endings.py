"""The errors of tasks that end without a result of their own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from flame_remote._execute.failure import add_needed_by, encode_error
from flame_remote._ids import ActorId, WorkerId
from flame_remote._outcome import Kind
from flame_remote._scheduling.commands import Ending, EndTask
from flame_remote._spec import TaskSpec
from flame_remote.exceptions import (
    ActorDiedError,
    FlameError,
    OutOfMemoryError,
    TaskCancelledError,
    TaskDeadlineError,
    TaskTimeoutError,
    WorkerCrashedError,
    WorkerStartError,
)

from .objects import ObjectTable, StoredObject
from .workers import WorkerHandle

_UNREFERENCED: Final = "nothing refers to it any more", ""


class Endings:
    """Turns the scheduler's reasons into errors for people. Inside a turn."""

    def __init__(self, objects: ObjectTable, workers: Mapping[WorkerId, WorkerHandle]) -> None:
        self._objects = objects
        self._workers = workers
        # Of what was lost last, a worker or the process that starts them.
        self._last_output = ""
        self._why_unstartable = ""
        # Actors that ended otherwise than for want of handles: how, and what they said last.
        # Until the session ends, for calls may come as long as handles are kept.
        self._how_actors_died: dict[ActorId, tuple[str, str]] = {}
        self._ended_by_wish: set[ActorId] = set()  # of those
        self._restarts: dict[ActorId, int] = {}  # of those that have been restarted

    def worker_lost(self, worker: WorkerHandle, said_before: str) -> None:
        """Note what a worker's end was like; `said_before` is what it may have said at first."""
        output = worker.last_output()
        self._last_output = output or said_before or self._last_output
        self._why_unstartable = f"the last one {worker.how_it_ended()}"
        if worker.actor_id and worker.actor_id not in self._ended_by_wish:
            how = f"its process {worker.how_it_ended()}"
            self._how_actors_died[worker.actor_id] = how, output

    def spawner_lost(self, output: str) -> None:
        """Note what the process that starts workers has said last."""
        self._last_output = output or self._last_output

    def start_refused(self, reason: str) -> None:
        """Note that the system refuses another process or its connections."""
        self._why_unstartable = reason

    def actor_ended(self, actor_id: ActorId, how: str) -> None:
        """Note that a living actor is being ended, by a wish of the user's; it says how."""
        self._how_actors_died[actor_id] = how, ""
        self._ended_by_wish.add(actor_id)

    def actor_restarts(self, actor_id: ActorId, restarts: int) -> None:
        """Note that an actor is to be constructed again; `restarts` counts this time."""
        self._restarts[actor_id] = restarts

    def failure(self, command: EndTask, spec: TaskSpec) -> bytes:
        """Return the error of a task, as it travels."""
        name = spec.target.name
        cause = self._objects.by_id.get(command.because) or self._failed_argument(command, spec)
        match command.ending:
            case Ending.TIMED_OUT:
                return encode_error(TaskTimeoutError(name, spec.target.limits.timeout or 0.0))
            case Ending.DEADLINE:
                return encode_error(_late(command, name))
            case Ending.OUT_OF_MEMORY:
                worker = self._workers.get(command.worker_id)
                grown = 0 if worker is None else worker.memory_grown
                return encode_error(OutOfMemoryError(name, spec.target.limits.memory_bytes, grown))
            case Ending.CANCELLED:
                return encode_error(TaskCancelledError(name))
            case Ending.CRASHED:
                return encode_error(self._crash(command, name))
            case Ending.UNSTARTABLE:
                return encode_error(WorkerStartError(self._why_unstartable, self._last_output))
            case Ending.ACTOR_RESTARTS:
                how, output = self._how_actors_died[command.because]
                actor = cause.name if cause is not None else name
                return encode_error(ActorDiedError(actor, how, output, is_restarting=True))
            case _ if cause is not None and cause.kind == Kind.FAILED:
                cause.was_read = True  # by way of this task
                return add_needed_by(cause.data, name)
            case _:
                if cause is not None:
                    cause.was_read = True  # one that is killed while it begins fails only later
                how, output = self._how_actors_died.get(command.because, _UNREFERENCED)
                if (restarts := self._restarts.get(command.because)) is not None:
                    how += f"; it had been restarted {_times(restarts)}"
                actor = cause.name if cause is not None else name.rpartition(".")[0]
                return encode_error(ActorDiedError(actor or name, how, output))

    def _failed_argument(self, command: EndTask, spec: TaskSpec) -> StoredObject | None:
        """Return the part of a failed task's value that a task wanted, if it did."""
        if command.ending is not Ending.ARGUMENT_FAILED:
            return None
        arguments = (self._objects.by_id.get(object_id) for _, object_id in spec.dependencies)
        return next((a for a in arguments if a is not None and a.kind == Kind.FAILED), None)

    def _crash(self, command: EndTask, name: str) -> FlameError:
        worker = self._workers.get(command.worker_id)
        if worker is None:
            return WorkerCrashedError(name, command.task_id, 0, "ended", command.attempts)
        return WorkerCrashedError(
            name,
            command.task_id,
            worker.pid,
            worker.how_it_ended(),
            max(1, command.attempts),
            worker.last_output(),
        )


def _times(number: int) -> str:
    return "once" if number == 1 else f"{number} times"


def _late(command: EndTask, name: str) -> TaskDeadlineError:
    of = command.deadline_of
    if of is None:
        return TaskDeadlineError(name, 0.0, name)
    return TaskDeadlineError(name, of.target.limits.deadline or 0.0, of.target.name)
