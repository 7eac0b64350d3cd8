"""Every error that flame_remote raises, in one tree under FlameError.

An error of the user's own code is raised as an instance of both TaskError and the user's type, so
`except ValueError` and `except flame.TaskError` both work. All errors pickle with all their fields.
"""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING, Any

from flame_remote._foreign_names import error_names


class FlameErrorCode(IntEnum):
    """What kind of thing went wrong between a client and a Flame cluster; numbers are Flame's."""

    INVALID_CONFIG = 0
    INVALID_STATE = 1
    INVALID_ARGUMENT = 2
    INTERNAL = 3
    ALREADY_EXISTS = 4
    NOT_FOUND = 5


class FlameError(Exception):
    """Base of every error that flame_remote raises."""

    if not TYPE_CHECKING:  # a type checker would believe that every attribute exists

        def __getattr__(self, name: str) -> Any:
            # A user's exception that this one is also an instance of may have its own.
            inherited = getattr(super(), "__getattr__", None)
            if inherited is not None:
                try:
                    return inherited(name)
                except AttributeError:
                    if name not in error_names:
                        raise
            if name in error_names:
                return error_names[name](self)
            raise AttributeError(
                f"{type(self).__name__!r} object has no attribute {name!r}", name=name, obj=self
            )


# --- The call itself ------------------------------------------------------------------------


class InvalidOptionError(FlameError, ValueError):
    """An option of `@flame.remote`, `.options` or `init` is unknown or out of range."""


class UnschedulableError(FlameError):
    """A call asks for more of a resource than exists; raised at the call, nothing is queued."""

    def __init__(self, name: str, resource: str, needed: float, available: float) -> None:
        super().__init__(name, resource, needed, available)
        self.name = name
        self.resource = resource
        self.needed = needed
        self.available = available

    def __str__(self) -> str:
        option = {"CPU": "num_cpus", "GPU": "num_gpus"}.get(self.resource)
        if self.resource == "memory":
            return (
                f"{self.name} needs memory={self.needed:.0f} bytes but this engine has "
                f"{self.available:.0f}; ask for less, or start with flame.init(memory=...)"
            )
        if option is not None:
            needed = f"{option}={self.needed:g}"
        else:
            needed = f"resources={{{self.resource!r}: {self.needed:g}}}"
        return (
            f"{self.name} needs {needed} but this engine has {self.available:g}; "
            f"ask for less, or start with flame.init({needed})"
        )


class RefMisuseError(FlameError, TypeError):
    """A ref was used as if it were its value, or something that is no ref as a ref."""


# --- Values that cannot travel --------------------------------------------------------------


class SerializationError(FlameError, TypeError):
    """A value cannot be turned into bytes (argument, closure or result), or bytes are not ours."""


class DeserializationError(SerializationError):
    """Bytes that arrived whole could not be turned back into a value.

    `where` is "worker" or "driver". Never retried: the same bytes would fail again.
    """

    def __init__(self, what: str, where: str, reason: str) -> None:
        super().__init__(what, where, reason)
        self.what = what
        self.where = where
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.what} could not be rebuilt in the {self.where}: {self.reason}"


# --- Running --------------------------------------------------------------------------------


class TaskError(FlameError):
    """The user's function raised.

    What `get` raises is an instance of TaskError and of the user's exception type where both can
    be; where they cannot, the original is its `__cause__`, if it could be rebuilt. `function_name`,
    `task_id` and `pid` are those of the task whose code raised first, also when the error went
    through other tasks; `remote_traceback` is the traceback text as the worker formatted it.
    """

    function_name: str = ""
    remote_traceback: str = ""
    task_id: int = 0
    pid: int = 0


class ReturnCountError(FlameError, ValueError):
    """The function returned another number of values than its `num_returns` says.

    `wanted` is that number, `came` says in words what was returned.
    """

    def __init__(self, name: str, wanted: int, came: str) -> None:
        super().__init__(name, wanted, came)
        self.name = name
        self.wanted = wanted
        self.came = came

    def __str__(self) -> str:
        return (
            f"{self.name}() returned {self.came}, but num_returns={self.wanted} asks for a tuple, "
            f"list or iterator of exactly {self.wanted}"
        )


class TaskCancelledError(FlameError):
    """The task was cancelled before it finished, or depends on one that was."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name

    def __str__(self) -> str:
        return f"{self.name}() was cancelled"


class TaskTimeoutError(FlameError, TimeoutError):
    """The call has run for longer than its `timeout` and was ended."""

    def __init__(self, name: str, seconds: float) -> None:
        super().__init__(name, seconds)
        self.name = name
        self.seconds = seconds

    def __str__(self) -> str:
        return f"{self.name}() was ended: it ran for longer than its timeout of {self.seconds} s"


class OutOfMemoryError(FlameError, MemoryError):
    """A call was ended with its process, which took more memory than the call had asked for."""

    def __init__(self, name: str, limit_bytes: int, seen_bytes: int) -> None:
        super().__init__(name, limit_bytes, seen_bytes)
        self.name = name
        self.limit_bytes = limit_bytes
        self.seen_bytes = seen_bytes

    def __str__(self) -> str:
        return (
            f"{self.name}() was ended: its process had grown by {_mebibytes(self.seen_bytes)} "
            f"since the call began, and its memory is {_mebibytes(self.limit_bytes)}; ask for more "
            "with memory=..., or let it hold less at a time"
        )


class WorkerCrashedError(FlameError):
    """The process that ran the task ended without a result; no retry was left.

    `how` says what happened ("was killed by signal 9 (SIGKILL)"), `attempts` how often the task
    was started, `output` the last lines that the process wrote to its standard error.
    """

    def __init__(
        self, name: str, task_id: int, pid: int, how: str, attempts: int, output: str = ""
    ) -> None:
        super().__init__(name, task_id, pid, how, attempts, output)
        self.name = name
        self.task_id = task_id
        self.pid = pid
        self.how = how
        self.attempts = attempts
        self.output = output

    def __str__(self) -> str:
        times = "1 attempt" if self.attempts == 1 else f"{self.attempts} attempts"
        text = (
            f"the process running {self.name}() {self.how} "
            f"(pid {self.pid}, task #{self.task_id}, {times})"
        )
        if self.output:
            text += "\nlast output of the process:\n" + _indent(self.output)
        return text


class WorkerStartError(FlameError):
    """Worker processes could not be started, several times in a row."""

    def __init__(self, reason: str, output: str = "") -> None:
        super().__init__(reason, output)
        self.reason = reason
        self.output = output

    def __str__(self) -> str:
        text = f"worker processes cannot be started: {self.reason}"
        if self.output:
            text += "\nlast output:\n" + _indent(self.output)
        return text


class ActorError(FlameError):
    """Base of the errors of actors."""


class ActorDiedError(ActorError):
    """The actor is dead, and with it this call and every later one.

    A call that was under way may or may not have been executed. With `is_restarting` only this call
    is lost: the actor is being constructed again, as `max_restarts` allows.
    """

    def __init__(self, name: str, how: str, output: str = "", is_restarting: bool = False) -> None:
        super().__init__(name, how, output, is_restarting)
        self.name = name
        self.how = how
        self.output = output
        self.is_restarting = is_restarting

    def __str__(self) -> str:
        text = f"actor {self.name} is dead: {self.how}"
        if self.is_restarting:
            text = (
                f"actor {self.name} has died during this call, and is being constructed again: "
                f"{self.how}; the call is not repeated unless max_task_retries allows it"
            )
        if self.output:
            text += "\nlast output of its process:\n" + _indent(self.output)
        return text


class ActorAlreadyExistsError(ActorError, ValueError):
    """An actor of that name lives already; `get_if_exists=True` returns its handle instead."""

    def __init__(self, name: str, namespace: str) -> None:
        super().__init__(name, namespace)
        self.name = name
        self.namespace = namespace

    def __str__(self) -> str:
        return (
            f"there is an actor named {self.name!r} in the namespace {self.namespace!r} already: "
            f"flame.get_actor({self.name!r}) returns its handle, and so does get_if_exists=True"
        )


class ActorNotFoundError(ActorError, ValueError):
    """No actor of that name lives; `near` are names that exist and look like it."""

    def __init__(self, name: str, namespace: str, near: tuple[str, ...] = ()) -> None:
        super().__init__(name, namespace, near)
        self.name = name
        self.namespace = namespace
        self.near = near

    def __str__(self) -> str:
        text = f"there is no actor named {self.name!r} in the namespace {self.namespace!r}"
        if self.near:
            return f"{text}; near it there are {', '.join(self.near)}"
        return f"{text}: it has ended, or was never made"


class PendingCallsLimitError(ActorError):
    """As many calls of a handle as its `max_pending_calls` allows have not ended yet.

    Nothing was queued; the same call may be made again when one of them has ended.
    """

    def __init__(self, name: str, limit: int) -> None:
        super().__init__(name, limit)
        self.name = name
        self.limit = limit

    def __str__(self) -> str:
        calls = "1 call" if self.limit == 1 else f"{self.limit} calls"
        return (
            f"{self.name}() was not called: {calls} through this handle have not ended, and "
            f"max_pending_calls={self.limit} allows no more; get() or wait() for some of them "
            "first, or raise the limit"
        )


class DeadlockError(FlameError):
    """A `get` waits, through other tasks, for itself; `cycle` names the tasks in order."""

    def __init__(self, cycle: tuple[str, ...]) -> None:
        super().__init__(cycle)
        self.cycle = cycle

    def __str__(self) -> str:
        steps = " waits for ".join([*self.cycle, self.cycle[0]])
        return f"this get can never return: {steps}"


class GetTimeoutError(FlameError, TimeoutError):
    """`get` ran out of time; `waiting` describes each result that was not ready, at most ten."""

    def __init__(
        self, not_ready: int, total: int, seconds: float, waiting: tuple[str, ...] = ()
    ) -> None:
        super().__init__(not_ready, total, seconds, waiting)
        self.not_ready = not_ready
        self.total = total
        self.seconds = seconds
        self.waiting = waiting

    def __str__(self) -> str:
        text = f"{self.not_ready} of {self.total} results not ready after {self.seconds:g} s"
        if self.waiting:
            more = self.not_ready - len(self.waiting)
            text += ": " + "; ".join(self.waiting) + (f"; and {more} more" if more > 0 else "")
        return text


# --- Objects --------------------------------------------------------------------------------


class ObjectError(FlameError):
    """Base of the errors of stored values."""


class ObjectLostError(ObjectError):
    """The value existed and is gone; `reason` says why."""

    def __init__(self, object_id: int, reason: str) -> None:
        super().__init__(object_id, reason)
        self.object_id = object_id
        self.reason = reason

    def __str__(self) -> str:
        return f"object #{self.object_id} is lost: {self.reason}"


class ObjectFreedError(ObjectLostError):
    """The value was freed by `flame.free` while this ref to it was left."""

    def __init__(self, object_id: int) -> None:
        super().__init__(object_id, "it was freed by flame.free()")
        self.args = (object_id,)


class StoreFullError(ObjectError):
    """The object store has no room. Dropping references, or a larger `store_bytes`, makes room."""

    def __init__(self, needed_bytes: int, free_bytes: int) -> None:
        super().__init__(needed_bytes, free_bytes)
        self.needed_bytes = needed_bytes
        self.free_bytes = free_bytes

    def __str__(self) -> str:
        return (
            f"object store is full: needed {self.needed_bytes} bytes, {self.free_bytes} are free; "
            "drop references, or start with a larger flame.init(store_bytes=...)"
        )


class SpillError(ObjectError):
    """A value could not be written to, or read back from, the spill file."""

    def __init__(self, errno: int, path: str, free_bytes: int) -> None:
        super().__init__(errno, path, free_bytes)
        self.errno = errno
        self.path = path
        self.free_bytes = free_bytes

    def __str__(self) -> str:
        import os

        return (
            f"cannot spill to {self.path}: {os.strerror(self.errno)} ({self.free_bytes} bytes free)"
        )


# --- Knowing and scopes ---------------------------------------------------------------------


class DeadlineExceededError(FlameError, TimeoutError):
    """The deadline of a scope has passed, and the `cancelled` calls in it were cancelled."""

    def __init__(self, seconds: float, cancelled: int) -> None:
        super().__init__(seconds, cancelled)
        self.seconds = seconds
        self.cancelled = cancelled

    def __str__(self) -> str:
        calls = "1 call was" if self.cancelled == 1 else f"{self.cancelled} calls were"
        return f"the scope's deadline of {self.seconds} s has passed: {calls} cancelled"


class TaskDeadlineError(DeadlineExceededError):
    """The call had not ended at its deadline, or at that of a call in which it was made.

    `seconds` is the `deadline` of `of`, the call whose deadline it was.
    """

    def __init__(self, name: str, seconds: float, of: str) -> None:
        super(DeadlineExceededError, self).__init__(name, seconds, of)
        self.name = name
        self.seconds = seconds
        self.of = of

    def __str__(self) -> str:
        text = f"{self.name}() did not end within the deadline of {self.seconds} s"
        return text if self.of == self.name else f"{text} that {self.of}() had, in which it ran"


class ReplayError(FlameError):
    """A saved call cannot be made again; `reason` says why."""

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(path, reason)
        self.path = path
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.path} cannot be replayed: {self.reason}"


# --- The engine -----------------------------------------------------------------------------


class EngineError(FlameError, RuntimeError):
    """Base of the errors about the engine as a whole."""


class EngineClosedError(EngineError):
    """The engine was shut down while, or before, this call was made."""

    def __str__(self) -> str:
        return self.args[0] if self.args else "flame was shut down"


class SessionEndedError(EngineError):
    """A ref or an actor handle outlived the session that made it."""

    def __init__(self, what: str) -> None:
        super().__init__(what)
        self.what = what

    def __str__(self) -> str:
        return (
            f"{self.what} belongs to a session that has ended "
            "(flame.shutdown() was called since it was made)"
        )


class ForkedError(EngineError):
    """The API was used in a child made by os.fork(); the engine belongs to the parent."""

    def __str__(self) -> str:
        return (
            self.args[0]
            if self.args
            else (
                "flame was started before os.fork() and belongs to the parent process; "
                "call flame.init() in the child"
            )
        )


# --- A Flame cluster ------------------------------------------------------------------------------


class ClusterError(FlameError):
    """A Flame cluster refused or failed a call, or what it was to be asked makes no sense.

    `code` says what kind of error it is, `message` is the sentence.
    """

    def __init__(self, message: str, code: FlameErrorCode = FlameErrorCode.INTERNAL) -> None:
        super().__init__(message, code)
        self.message = message
        self.code = code

    def __str__(self) -> str:
        return self.message


class ConnectError(ClusterError):
    """Nobody answers at an endpoint, or the connection was lost and did not come back.

    `origin` says where the address came from ("FLAME_ENDPOINT", "default"), `what` who should be
    there: "Flame cluster" or "object cache".
    """

    def __init__(
        self, endpoint: str, origin: str, reason: str, what: str = "Flame cluster"
    ) -> None:
        message = (
            f"no {what} answers at {endpoint} (from {origin}): {reason}; start one with "
            f"`flame-remote up`, or give the address of one that runs"
        )
        super().__init__(message, FlameErrorCode.INVALID_CONFIG)
        self.args = (endpoint, origin, reason, what)
        self.endpoint = endpoint
        self.origin = origin
        self.reason = reason
        self.what = what


class ClusterTimeoutError(ClusterError, TimeoutError):
    """A call to a Flame cluster, or a wait for one of its tasks, took longer than its `timeout`."""


def _indent(text: str) -> str:
    return "\n".join("  " + line for line in text.splitlines())


def _mebibytes(size: object) -> str:
    return f"{size / 2**20:.1f} MiB" if isinstance(size, (int, float)) else str(size)
