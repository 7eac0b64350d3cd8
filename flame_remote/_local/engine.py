"""The embedded engine: this machine's cores, no server, no port, no file."""

from __future__ import annotations

import os
import signal
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from operator import attrgetter
from time import perf_counter
from types import FrameType
from typing import Any, Final

from flame_remote import _ids
from flame_remote._config import Config
from flame_remote._deadline import Deadline
from flame_remote._execute.failure import rebuild_error
from flame_remote._execute.frames import without_own_frames
from flame_remote._execute.result import cannot_rebuild
from flame_remote._ids import ActorId, ObjectId, TaskId
from flame_remote._outcome import Kind
from flame_remote._refs import ObjectRef, register_engine, unregister_engine
from flame_remote._scheduling.states import TaskState
from flame_remote._spec import TaskSpec
from flame_remote._wire.packing import Packed, unpack
from flame_remote.engine import Engine
from flame_remote.exceptions import (
    EngineClosedError,
    EngineError,
    FlameError,
    ForkedError,
    GetTimeoutError,
    SessionEndedError,
    UnschedulableError,
)

from .arena import Arena
from .core import Core
from .loop import Loop
from .objects import StoredObject
from .spawning import SpawnerHandle
from .turn import Turn
from .values import ROOM_STEP_SECONDS, Storage, open_value
from .waits import CallbackWatcher, Waiter

# Calls that may be left for later, at most, and for how long; each turn and each message costs as
# much as several calls.
_CALLS_PER_TURN: Final = 256
_BURST_SECONDS: Final = 0.001
_KIND: Final = attrgetter("kind")
_ATOM: Final = int(Kind.ATOM)
_PACKAGE: Final = "flame_remote."

Callback = Callable[[ObjectRef[Any]], object]
_engines: weakref.WeakSet[LocalEngine] = weakref.WeakSet()


class LocalEngine(Engine):
    """Runs tasks in processes of this machine. Safe to call from any thread."""

    def __init__(self, config: Config, spawner: SpawnerHandle) -> None:
        """Begin with a spawner that was started just now; it becomes the engine's."""
        # Constant after construction.
        self.session = os.urandom(8).hex()
        self._resources = config.amounts()
        self.new_id = _ids.id_source(_ids.DRIVER).__next__  # type: ignore[method-assign]
        self._turn = Turn()
        self._reading = Turn()  # around the opening of stored values
        self._core = Core(self.session, config, spawner)
        self.ref_events: deque[int] = self._core.ref_events
        self._inbox = self._core.inbox
        self._objects = self._core.objects.by_id
        self._scheduler = self._core.scheduler
        self._storage = Storage(
            self._make_arena, lambda size: self._reserve(-size), self._make_room
        )
        self._core.storage = self._storage
        # Why the engine cannot be used; set once, read at any time.
        self._refusal: FlameError | None = None
        self._loop = Loop(self._turn, self._core.poller, self._core)
        self._core.wake_loop = self._wake_loop
        self._core.give_up = self._give_up
        self._closing = threading.Lock()
        self._closed = False
        # Until when calls belong to a burst; any thread, and it matters little who wins.
        self._next_turn = 0.0
        register_engine(self)
        _engines.add(self)
        self._catch_interrupts()

    # --- tasks ---

    def new_id(self) -> TaskId:
        raise NotImplementedError  # replaced in __init__, where it costs nothing to call

    def current_task(self) -> TaskId:
        return 0

    def check_demand(self, name: str, amounts: Mapping[str, float]) -> None:
        for resource, needed in amounts.items():
            available = self._resources.get(resource, 0.0)
            if needed > available:
                raise UnschedulableError(name, resource, needed, available)

    def submit(self, spec: TaskSpec) -> ObjectRef[Any]:
        if self._refusal is not None:
            raise self._refusal
        self._objects[spec.id] = StoredObject(spec.target.name, spec)
        ref: ObjectRef[Any] = ObjectRef(spec.id, self)
        inbox = self._inbox
        inbox.append(spec)
        # A lone call goes out at once. Calls in a row share turns and messages: they go out after a
        # millisecond, with the next wait for a result, or with the next look of the background
        # thread, whatever comes first (benchmarks: submit of no-op tasks).
        now = perf_counter()
        if now > self._next_turn or len(inbox) >= _CALLS_PER_TURN:
            self._next_turn = now + _BURST_SECONDS
            with self._turn:
                if len(inbox) > 1:
                    self._loop.pump()
                self._core.drain()
            self._core.after_turn()
        elif not self._core.drain_is_due:
            self._core.drain_is_due = True
            self._loop.wake()
        return ref

    def cancel(self, ref: ObjectRef[Any], force: bool) -> bool:
        self._check_usable()
        with self._turn:
            self._core.drain()
            cancelled = self._core.cancel(ref._id, force)
        self._core.after_turn()
        return cancelled

    def kill(self, actor: ActorId) -> None:
        self._check_usable()
        with self._turn:
            self._core.drain()
            self._core.kill_actor(actor)
        self._core.after_turn()

    # --- objects ---

    def put(self, packed: Packed) -> ObjectRef[Any]:
        self._check_usable()
        with self._turn:
            self._core.drain()  # what was let go makes room, and warm room
        kind, data = self._storage.store(packed)
        object_id = self.new_id()
        stored = StoredObject("")
        ref: ObjectRef[Any] = ObjectRef(object_id, self)  # so that Ctrl-C leaves nothing behind
        with self._turn:
            self._core.drain()
            self._objects[object_id] = stored
            if kind == Kind.STORED:
                self._core.segments.value_stored(data[0], data[2])
            inside = tuple(ref._id for ref in packed.refs)
            self._core.objects.settle(object_id, int(kind), data, inside)
        return ref

    def get(self, refs: Sequence[ObjectRef[Any]], deadline: Deadline) -> list[Any]:
        self._next_turn = 0.0
        stored = self._find(refs)
        if not all(map(_KIND, stored)):
            self._wait(stored, len(refs), deadline, stop_at_failure=True)
        elif len(self.ref_events) > _CALLS_PER_TURN:
            with self._turn:
                self._core.drain()
        try:
            # The common values in one go (benchmarks: get of small objects).
            return [
                entry.data
                if entry.kind == _ATOM
                else self._load(ref, entry, refs, stored, deadline)
                for ref, entry in zip(refs, stored, strict=True)
            ]
        except BaseException as error:
            # The same error, with this function as its only frame of ours.
            raise error.with_traceback(without_own_frames(error.__traceback__))  # noqa: B904

    def wait(
        self, refs: Sequence[ObjectRef[Any]], num_returns: int, deadline: Deadline
    ) -> set[ObjectId]:
        stored = self._find(refs)
        if sum([entry.kind != 0 for entry in stored]) < num_returns:
            self._wait(stored, num_returns, deadline, stop_at_failure=False)
        return {ref._id for ref, entry in zip(refs, stored, strict=True) if entry.kind}

    def is_done(self, ref: ObjectRef[Any]) -> bool:
        stored = self._objects.get(ref._id)
        if stored is None:
            self._find([ref])
        return stored is not None and stored.kind != 0

    def on_done(self, ref: ObjectRef[Any], callback: Callback) -> None:
        (stored,) = self._find([ref])
        with self._turn:
            self._core.drain()
            if not stored.kind:
                call = partial(_call_back, callback, ref)
                if stored.watchers is None:
                    stored.watchers = []
                stored.watchers.append(CallbackWatcher(call, self._core.callbacks))
                return
        _call_back(callback, ref)

    # --- the engine ---

    def describe(self, ref: ObjectRef[Any]) -> str:
        stored = self._objects.get(ref._id)
        if stored is None or not stored.name:
            return f"object {_ids.show(ref._id)}"
        if stored.is_actor:
            return f"{stored.name} {_ids.show(ref._id)}"
        state = "failed" if stored.kind == Kind.FAILED else "succeeded"
        if not stored.kind:
            record = self._scheduler.tasks.get(ref._id)
            state = _PROGRESS[record.state] if record is not None else "pending"
        return f"{stored.name}() {_ids.show(ref._id)} ({state})"

    def resources(self) -> Mapping[str, float]:
        return dict(self._resources)

    def close(self) -> None:
        with self._closing:
            if self._closed or isinstance(self._refusal, ForkedError):
                return
            self._closed = True
            self._refusal = self._refusal or EngineClosedError()
        self._release_interrupts()
        unregister_engine(self)
        self._fail_waits(self._refusal)
        with self._turn:
            for stored in list(self._objects.values()):  # others add to it without a turn
                if stored.kind == Kind.FAILED and not stored.was_read:
                    self._core.objects.unread.append(stored.data)
        self._loop.close()
        self._storage.close()  # before the turn: who stores something takes them in this order
        with self._turn:
            self._core.close()
            self._objects.clear()
        self._core.after_turn()

    def handle_died(self) -> None:
        # One system call that cannot block, fit for a finaliser; the engine's thread does the rest.
        self._loop.wake()

    def _fail_waits(self, error: FlameError) -> None:
        """Tell everybody who waits that there is nothing to wait for."""
        with self._turn:
            for stored in list(self._objects.values()):  # others add to it without a turn
                for watcher in stored.watchers or ():
                    if isinstance(watcher, Waiter):
                        watcher.fail(error)
                    elif isinstance(watcher, CallbackWatcher):
                        watcher.note(0, stored)
                stored.watchers = None

    def _give_up(self, reason: str) -> None:
        self._refusal = EngineError(reason)
        self._fail_waits(self._refusal)

    # --- waiting ---

    def _find(self, refs: Sequence[ObjectRef[Any]]) -> list[StoredObject]:
        objects = self._objects
        try:
            return [objects[ref._id] for ref in refs]
        except KeyError:
            if isinstance(self._refusal, ForkedError):
                raise self._refusal from None
            raise SessionEndedError("an ObjectRef") from None

    def _wait(
        self, stored: list[StoredObject], number: int, deadline: Deadline, *, stop_at_failure: bool
    ) -> None:
        with self._turn:
            self._core.drain()
            pending = [entry for entry in stored if not entry.kind]
            if stop_at_failure and any(entry.kind == Kind.FAILED for entry in stored):
                return
            if self._refusal is not None:
                raise self._refusal
            waiter = Waiter(number - (len(stored) - len(pending)), stop_at_failure=stop_at_failure)
            for entry in pending:
                if entry.watchers is None:
                    entry.watchers = [waiter]
                else:
                    entry.watchers.append(waiter)
        try:
            self._loop.run_until(waiter, deadline)
        finally:
            # Answered, late, or interrupted: it must not be told any more.
            with self._turn:
                for entry in pending:
                    if entry.watchers is not None and waiter in entry.watchers:
                        entry.watchers.remove(waiter)
        if waiter.error is not None:
            raise waiter.error

    def _load(
        self,
        ref: ObjectRef[Any],
        entry: StoredObject,
        refs: Sequence[ObjectRef[Any]],
        stored: list[StoredObject],
        deadline: Deadline,
    ) -> Any:
        kind = entry.kind
        if kind == Kind.PENDING:
            self._raise_failure(stored)
            raise self._timeout(refs, stored, deadline)
        if kind == Kind.FAILED:
            self._raise_failure([entry])
        try:
            if kind == Kind.PICKLED:
                return unpack(entry.data)
            unpin = partial(self._core.unpinned.append, ref._id)
            with self._reading:
                with self._turn:
                    entry.pins += 1
                pickled, buffers = open_value(entry.data, self._core.mappings, unpin)
            return unpack(pickled, buffers)
        except FlameError:
            raise
        except Exception as error:
            what = f"the result of {entry.name}()" if entry.name else self.describe(ref)
            raise cannot_rebuild(what, "driver", error) from error

    def _raise_failure(self, stored: list[StoredObject]) -> None:
        """Raise the error of the first that failed, if any."""
        for entry in stored:
            if entry.kind == Kind.FAILED:
                entry.was_read = True
                raise rebuild_error(entry.data)

    def _timeout(
        self, refs: Sequence[ObjectRef[Any]], stored: list[StoredObject], deadline: Deadline
    ) -> GetTimeoutError:
        late = [ref for ref, entry in zip(refs, stored, strict=True) if not entry.kind]
        texts = tuple(self.describe(ref) for ref in late[:10])
        return GetTimeoutError(len(late), len(refs), deadline.seconds or 0.0, texts)

    def _check_usable(self) -> None:
        if self._refusal is not None:
            raise self._refusal

    # --- memory ---

    def _make_arena(self) -> Arena:
        segments = self._core.segments

        def retire(segment: int) -> None:
            with self._turn:
                segments.retire(segment)

        def announce(segment: int, descriptor: int) -> None:
            with self._turn:
                segments.add(segment, descriptor)

        return Arena(_ids.DRIVER, self._reserve, announce, retire)

    def _reserve(self, size: int) -> None:
        with self._turn:
            self._core.segments.reserve(size)

    def _make_room(self, needed_bytes: int) -> None:
        with self._turn:
            self._core.drain()
            self._core.room.make(needed_bytes, _ids.DRIVER)
        # Workers may be giving back what they do not use.
        self._loop.run_until(Waiter(1, stop_at_failure=False), Deadline(ROOM_STEP_SECONDS))

    def _wake_loop(self) -> None:
        if not self._loop.is_led_here():
            self._loop.wake()

    # --- Ctrl-C ---

    def _catch_interrupts(self) -> None:
        """Stand before Python's own SIGINT handler, which may strike in the middle of a change.

        Only if it is that one: a handler of the user's is left alone.
        """
        self._handles_interrupts = False
        if (
            threading.current_thread() is threading.main_thread()
            and signal.getsignal(signal.SIGINT) is signal.default_int_handler
        ):
            signal.signal(signal.SIGINT, self._on_interrupt)
            self._handles_interrupts = True

    def _on_interrupt(self, signum: int, frame: FrameType | None) -> None:
        # Outer turns first: the interrupt is raised as the outermost ends.
        turns = self._reading, self._storage.turn, self._turn
        if any(turn.defer_interrupt() for turn in turns):
            return
        if _is_in_finaliser(frame):
            # Raised there it would be lost, and the count of a ref with it. So again, from the
            # engine's thread.
            self._core.callbacks.append(partial(_interrupt_again, threading.get_ident()))
            self._loop.wake()
            return
        signal.default_int_handler(signum, frame)

    def _release_interrupts(self) -> None:
        if (
            self._handles_interrupts
            and threading.current_thread() is threading.main_thread()
            and signal.getsignal(signal.SIGINT) == self._on_interrupt
        ):
            signal.signal(signal.SIGINT, signal.default_int_handler)


_PROGRESS: Final = {
    TaskState.PENDING: "pending: waits for its arguments",
    TaskState.READY: "pending: waits for a worker",
    TaskState.ASSIGNED: "running",
}


def _call_back(callback: Callback, ref: ObjectRef[Any]) -> None:
    try:
        callback(ref)
    except Exception:
        import logging

        logging.getLogger("flame_remote").exception("a done callback of %r failed", ref)


def _interrupt_again(thread: int) -> None:
    # By then the finaliser, a few microseconds long, is over; if not, there is a third time.
    time.sleep(0.001)
    signal.pthread_kill(thread, signal.SIGINT)


def _is_in_finaliser(frame: FrameType | None) -> bool:
    """Say whether the code is a __del__ of this package's, or was called by one."""
    while frame is not None:
        if frame.f_code.co_name == "__del__" and frame.f_globals["__name__"].startswith(_PACKAGE):
            return True
        frame = frame.f_back
    return False


def _refuse_in_child() -> None:
    """After os.fork(): the engine belongs to the parent; nothing here may touch its processes."""
    for engine in list(_engines):
        engine._refusal = ForkedError()
        engine._objects = {}  # not cleared: that would copy the pages they lie on


os.register_at_fork(after_in_child=_refuse_in_child)
