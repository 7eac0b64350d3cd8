"""From a call's entry to its result, in the worker: load, call, pack."""

from __future__ import annotations

import math
import os
import threading
from collections.abc import Callable
from contextvars import ContextVar
from time import monotonic, perf_counter
from typing import Any

from flame_remote._execute.attempts import Again, Attempts
from flame_remote._execute.call import execute, is_coroutine
from flame_remote._execute.coroutines import run_coroutine
from flame_remote._execute.failure import encode_error, encode_failure
from flame_remote._execute.result import cannot_rebuild, pack_result
from flame_remote._execute.several import Several, TakenApart
from flame_remote._ids import ObjectId, TaskId
from flame_remote._outcome import Kind, Outcome
from flame_remote._refs import ObjectRef
from flame_remote._spec import TargetKind
from flame_remote._wire.arguments import unpack_arguments
from flame_remote._wire.packing import unpack
from flame_remote.exceptions import FlameError, SerializationError, TaskDeadlineError

from .batch import CallEntry, Key, Result, TargetEntry
from .values import Values

# The call that code runs in; follows into coroutines, not into threads that users start.
current_call: ContextVar[CallEntry | None] = ContextVar("flame_current_call", default=None)


class Finished:
    """How a call ended, and what it must keep alive until its refs were handed over."""

    __slots__ = ("entry", "refs", "result", "seconds")

    def __init__(
        self, entry: CallEntry, result: Result, seconds: float, refs: list[ObjectRef[Any]]
    ) -> None:
        self.entry = entry
        self.result = result
        self.seconds = seconds
        self.refs = refs


class Unloadable(Exception):
    """Code or arguments that could not be rebuilt; holds the error for the caller."""

    def __init__(self, error: FlameError) -> None:
        super().__init__(error)
        self.error = error


class Code:
    """The user code that this process has been sent. Safe to use from any thread."""

    def __init__(self, values: Values) -> None:
        self._values = values
        self._lock = threading.Lock()
        # Guarded by self._lock.
        self._entries: dict[int, TargetEntry] = {}
        self._loaded: dict[int, Any] = {}

    def add(self, entries: tuple[TargetEntry, ...]) -> None:
        """Note code that calls will name."""
        with self._lock:
            for entry in entries:
                self._entries.setdefault(entry.id, entry)

    def forget(self, entries: tuple[TargetEntry, ...]) -> None:
        """Let go of functions with refs inside; whoever has begun to call one has it."""
        with self._lock:
            for entry in entries:
                if entry.refs:
                    self._loaded.pop(entry.id, None)

    def entry(self, target_id: int) -> TargetEntry:
        """Return what is known of a target."""
        return self._entries[target_id]

    def load(self, target_id: int) -> Any:
        """Return a function or class. Raises Unloadable."""
        with self._lock:
            if target_id in self._loaded:
                return self._loaded[target_id]
        entry = self._entries[target_id]
        what = "class" if entry.kind == TargetKind.ACTOR.value else "function"
        try:
            code = entry.code
            if isinstance(code, Key):
                code = bytes(self._values.fetch(code))
            # Not under the lock: user code runs, and may call us. Either of two results will do.
            loaded = unpack(code)
        except (Exception, SystemExit) as error:
            raise Unloadable(rebuild_error(f"the {what} {entry.name}", error)) from None
        with self._lock:
            return self._loaded.setdefault(target_id, loaded)


class Runner:
    """Runs calls of functions, and those methods whose instance it is given. Any thread."""

    def __init__(self, values: Values, code: Code) -> None:
        self._values = values
        self.code = code

    def run(self, entry: CallEntry, function: Callable[[], Any]) -> Finished:
        """Run a call to its end; `function` loads what is to be called. Coroutines are awaited."""
        before = current_call.set(entry)
        started = perf_counter()
        try:
            try:
                callee, args, kwargs = self.prepare(entry, function)
            except Unloadable as unloadable:
                return self.finish(entry, started, False, unloadable)
            started = perf_counter()
            succeeded, value = execute(callee, args, kwargs)
            if succeeded and is_coroutine(value):
                succeeded, value = run_coroutine(value)
            del args, kwargs  # refs of others in there must be gone by the reply
            return self.finish(entry, started, succeeded, value, callee)
        finally:
            value = None
            current_call.reset(before)

    def prepare(
        self, entry: CallEntry, function: Callable[[], Any]
    ) -> tuple[Callable[..., Any], tuple[Any, ...], Any]:
        """Return what is called, with its arguments. Runs code of the user's. Raises Unloadable."""
        callee = function()
        what = f"an argument of {self.code.entry(entry.target_id).name}()"
        try:
            values = [
                (place, self._values.load(entry.id, kind, data, what, "worker"))
                for place, kind, data in entry.values
            ]
            args, kwargs = unpack_arguments(entry.payload, values)
            callee = _with_options(callee, entry, self.code.entry(entry.target_id).name)
        except (Exception, SystemExit) as error:
            raise Unloadable(rebuild_error(what, error)) from None
        return callee, args, kwargs

    def finish(
        self,
        entry: CallEntry,
        started: float,
        succeeded: bool,
        value: Any,
        function: Any = None,
    ) -> Finished:
        """Pack what a call returned or raised."""
        seconds = perf_counter() - started
        name = self.code.entry(entry.target_id).name
        if succeeded and type(value) is Again:  # the deadline came before the next attempt
            late = TaskDeadlineError(name, entry.deadline or 0.0, name)
            return _finished(entry, int(Kind.FAILED), encode_error(late), seconds)
        if succeeded:
            try:
                if isinstance(value, Several):
                    if value.error is not None:
                        raise value.error
                    pairs = zip(entry.returns or (), value.values, strict=True)
                    packed = [self._pack(part, one, name, function) for part, one in pairs]
                    parts = tuple(result for result, _ in packed)
                    own = Result(entry.id, int(Kind.ATOM), None, (), parts)
                    return Finished(
                        entry, own, seconds, [ref for _, refs in packed for ref in refs]
                    )
                result, refs = self._pack(entry.id, value, name, function)
                return Finished(entry, result, seconds, refs)
            except FlameError as error:
                return _finished(entry, int(Kind.FAILED), encode_error(error), seconds)
            except Exception as error:
                value = error
        if isinstance(value, Unloadable):
            data = encode_error(value.error)
        else:
            data = encode_failure(value, name, entry.id, os.getpid())
        return _finished(entry, int(Kind.FAILED), data, seconds)

    def drop(self, finished: Finished) -> None:
        """Let go of what a call has made, as it came too late."""
        keys = [one.data for one in finished.result.objects if one.kind == Kind.STORED]
        if keys:
            self._values.delete(keys)
        finished.refs.clear()

    def _pack(
        self, object_id: ObjectId, value: Any, name: str, function: Any
    ) -> tuple[Result, list[ObjectRef[Any]]]:
        """Return a value as it is sent, and the refs inside."""
        packed = pack_result(value, name, function)
        if isinstance(packed, Outcome):
            return Result(object_id, int(packed.kind), packed.data), []
        kind, data = self._values.store(packed)
        refs = list(packed.refs)
        return Result(object_id, int(kind), data, tuple(ref._id for ref in refs)), refs


def _with_options(function: Callable[..., Any], entry: CallEntry, name: str) -> Callable[..., Any]:
    """Return what is called in place of a function, as the call's options ask."""
    inner = function.__wrapped__ if isinstance(function, Attempts) else function
    if entry.returns is not None:
        inner = TakenApart(inner, len(entry.returns), name)
    if not isinstance(function, Attempts):
        return inner
    return function.in_place(inner, monotonic() + (entry.deadline or math.inf))


def failed(entry: CallEntry, data: bytes) -> Finished:
    """Return the end of a call that was not run."""
    return _finished(entry, int(Kind.FAILED), data, 0.0)


def _finished(entry: CallEntry, kind: int, data: Any, seconds: float) -> Finished:
    parts = tuple(Result(part, kind, data) for part in entry.returns or ())
    return Finished(entry, Result(entry.id, kind, data, (), parts), seconds, [])


def rebuild_error(what: str, error: BaseException) -> FlameError:
    """Return the error for what could not be rebuilt here."""
    return error if isinstance(error, SerializationError) else cannot_rebuild(what, "worker", error)


def task_id_here() -> TaskId:
    """Return the call that the calling code runs in, 0 outside any."""
    entry = current_call.get()
    return entry.id if entry is not None else 0
