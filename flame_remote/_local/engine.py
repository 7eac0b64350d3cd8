"""The embedded engine: this machine's cores, no server, no port, no file."""

from __future__ import annotations

import errno
import os
import threading
import weakref
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from operator import attrgetter
from time import perf_counter
from typing import TYPE_CHECKING, Any, Final, TypeVar

from flame_remote import _ids
from flame_remote._config import Config
from flame_remote._deadline import Deadline
from flame_remote._environment import Environment
from flame_remote._execute.frames import without_own_frames
from flame_remote._ids import ActorId, ObjectId, TaskId
from flame_remote._outcome import Kind
from flame_remote._refs import ObjectRef, register_engine, unregister_engine
from flame_remote._spec import Naming, TaskSpec
from flame_remote._timeline import Timeline
from flame_remote._wire.packing import Packed
from flame_remote.engine import Engine
from flame_remote.exceptions import (
    EngineClosedError,
    EngineError,
    FlameError,
    ForkedError,
    UnschedulableError,
    WorkerStartError,
)

from .core import Core
from .ctrl_c import CtrlC
from .driver_store import DriverStore
from .driver_waits import DriverWaits
from .dropping import drop_value
from .limits import explain
from .loop import Loop
from .objects import StoredObject
from .results import Results
from .scopes import DriverScope, current_scope
from .spawning import SpawnerHandle
from .turn import Turn

if TYPE_CHECKING:
    from flame_remote._facts import CallFacts, Snapshot

# Calls that may be left for later, at most, and for how long; each turn and each message costs as
# much as several calls.
_CALLS_PER_TURN: Final = 256
_BURST_SECONDS: Final = 0.001
_KIND: Final = attrgetter("kind")
_ATOM: Final = int(Kind.ATOM)

Callback = Callable[[ObjectRef[Any]], object]
T = TypeVar("T")
_engines: weakref.WeakSet[LocalEngine] = weakref.WeakSet()


class LocalEngine(Engine):
    """Runs tasks in processes of this machine. Safe to call from any thread."""

    compares = True
    has_groups = True

    def __init__(self, config: Config, spawner: SpawnerHandle) -> None:
        """Begin with a spawner that was started just now; it becomes the engine's."""
        # Constant after construction.
        self.session = os.urandom(8).hex()
        self._resources = config.amounts()
        self.environment = config.environment
        self.gpus = config.gpus
        self.new_id = _ids.id_source(_ids.DRIVER).__next__  # type: ignore[method-assign]
        self.current_parent = current_scope.get  # type: ignore[method-assign]
        self._turn = Turn()
        opening = Turn()
        self._core = _start_core(self.session, config, spawner)
        self.ref_events: deque[int] = self._core.ref_events
        self.target_events = self._core.targets.events
        self._inbox = self._core.inbox
        self._objects = self._core.objects.by_id
        self._scheduler = self._core.scheduler
        self._actors = self._scheduler.actors.table
        # Why the engine cannot be used; set once, read at any time.
        self._refusal: FlameError | None = None
        self._loop = _start_loop(self._turn, self._core)
        self._waits = DriverWaits(self._core, self._turn, self._loop)
        self._store = DriverStore(self, self._core, self._turn, self._loop)
        self._core.storage = self._store.storage
        self._core.wake_loop = self._wake_loop
        self._core.give_up = self._give_up
        self._closing = threading.Lock()
        self._closed = False
        # Until when calls belong to a burst; any thread, and it matters little who wins.
        self._next_turn = 0.0
        register_engine(self)
        _engines.add(self)
        self._ctrl_c = CtrlC((opening, self._store.storage.turn, self._turn), self._call_later)
        self._results = Results(self._core, self._turn, opening, self._ctrl_c)
        self._ctrl_c.install()
        self._core.records.watch(self)

    # --- tasks ---

    def new_id(self) -> TaskId:
        raise NotImplementedError  # replaced in __init__, where it costs nothing to call

    def current_task(self) -> TaskId:
        return 0

    def current_parent(self) -> TaskId:
        raise NotImplementedError  # as new_id

    def check_demand(self, name: str, amounts: Mapping[str, float]) -> None:
        for resource, needed in amounts.items():
            available = self._resources.get(resource, 0.0)
            if needed > available:
                raise UnschedulableError(name, resource, needed, available)

    def check_environment(self, name: str, environment: Environment) -> None:
        environment.check(name)

    def submit(self, spec: TaskSpec) -> ObjectRef[Any]:
        if self._refusal is not None:
            raise self._refusal
        inbox = self._inbox
        stored = StoredObject(spec.target.name, spec)
        ref: ObjectRef[Any] = ObjectRef(spec.id, self)
        # Nothing between these two: Ctrl-C would leave a promise of what was never asked for.
        self._objects[spec.id] = stored
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

    def submit_named(self, spec: TaskSpec, naming: Naming) -> ObjectRef[Any]:
        def take_in() -> ObjectRef[Any]:
            self._core.revivals.names.give(naming, spec.id)  # one before it may be gone by now
            self._objects[spec.id] = StoredObject(spec.target.name, spec)
            ref: ObjectRef[Any] = ObjectRef(spec.id, self)
            self._core.revivals.named(naming, spec.id)
            self._inbox.append(spec)
            self._core.drain()
            return ref

        return self._change(take_in)

    def find_actor(self, name: str, namespace: str) -> tuple[ObjectRef[Any], bytes]:
        def find() -> tuple[ObjectRef[Any], bytes]:
            named = self._core.revivals.names.find(name, namespace)
            self._core.objects.hold([named.actor])
            return ObjectRef(named.actor, self), named.naming.handle

        return self._look(find)

    def submit_several(self, spec: TaskSpec) -> list[ObjectRef[Any]]:
        self._check_usable()
        refs = []
        for object_id in spec.returns or ():
            self._objects[object_id] = StoredObject(spec.target.name)
            refs.append(ObjectRef[Any](object_id, self))
        self.submit(spec)
        return refs

    def cancel(self, ref: ObjectRef[Any], force: bool, recursive: bool = True) -> bool:
        return self._change(lambda: self._core.cancel(ref._id, force, recursive))

    def kill(self, actor: ActorId, *, may_restart: bool = False) -> None:
        self._change(lambda: self._core.kill_actor(actor, may_restart=may_restart))

    def has_died(self, actor: ActorId) -> bool:
        # The scheduler knows the living, and those to come once a turn has taken in their
        # constructor; an error in its place comes in the turn in which it forgets them.
        stored = self._objects.get(actor)
        return stored is not None and bool(stored.kind) and actor not in self._actors

    # --- objects ---

    def put(self, packed: Packed) -> ObjectRef[Any]:
        self._check_usable()
        return self._store.put(packed)

    def get(self, refs: Sequence[ObjectRef[Any]], deadline: Deadline) -> list[Any]:
        self._next_turn = 0.0
        stored = self._waits.find(refs)
        if not all(map(_KIND, stored)):
            self._waits.wait(stored, len(refs), deadline, stop_at_failure=True)
        elif len(self.ref_events) > _CALLS_PER_TURN:
            with self._turn:
                self._core.drain()
        try:
            # The common values in one go (benchmarks: get of small objects).
            if not all(map(_KIND, stored)):
                self._results.raise_missing(refs, stored, deadline)
            load = self._results.load
            return [
                entry.data if entry.kind == _ATOM else load(ref, entry)
                for ref, entry in zip(refs, stored, strict=True)
            ]
        except BaseException as error:
            # The same error, with this function as its only frame of ours.
            raise error.with_traceback(without_own_frames(error.__traceback__))  # noqa: B904

    def wait(
        self, refs: Sequence[ObjectRef[Any]], num_returns: int, deadline: Deadline
    ) -> set[ObjectId]:
        stored = self._waits.find(refs)
        if sum([entry.kind != 0 for entry in stored]) < num_returns:
            self._waits.wait(stored, num_returns, deadline, stop_at_failure=False)
        return {ref._id for ref, entry in zip(refs, stored, strict=True) if entry.kind}

    def find_same(self, packed: Packed, object_id: ObjectId) -> ObjectRef[Any] | None:
        return None if self._refusal is not None else self._store.find_same(packed, object_id)

    def free(self, refs: Sequence[ObjectRef[Any]]) -> None:
        def drop() -> None:
            for ref in refs:
                drop_value(self._core.objects, ref._id)
            self._core.settle_requests()

        self._change(drop)

    def is_kept(self, object_id: ObjectId) -> bool:
        with self._turn:
            self._core.drain()
            return object_id in self._objects

    def is_done(self, ref: ObjectRef[Any]) -> bool:
        stored = self._objects.get(ref._id)
        if stored is None:
            self._waits.find([ref])
        return stored is not None and stored.kind != 0

    def has_started(self, ref: ObjectRef[Any]) -> bool:
        (stored,) = self._waits.find([ref])
        record = self._scheduler.maker_of(ref._id)
        if stored.kind or record is None:
            return bool(stored.kind)
        return self._core.crew.progress.last_started(record.worker_id) == record.spec.id

    def on_done(self, ref: ObjectRef[Any], callback: Callback) -> None:
        self._waits.call_back(ref, callback)

    # --- knowing ---

    def open_scope(self, deadline: float | None, *, stops: bool) -> DriverScope:
        self._check_usable()
        return DriverScope(self, deadline, stops=stops)

    def explain(self, ref: ObjectRef[Any]) -> str:
        self._waits.find([ref])
        from .explaining import Explainer  # needed by few programs

        return self._look(lambda: Explainer(self._core).explain(ref._id))

    def snapshot(self) -> Snapshot:
        from .looking import View

        return self._look(lambda: View(self._core).snapshot())

    def call_facts(self) -> CallFacts:
        from .looking import View

        return self._look(lambda: View(self._core).facts_of(current_scope.get()))

    def timeline(self) -> Timeline:
        return self._core.records.timeline or super().timeline()

    def save_failed_calls(self, folder: str | None) -> None:
        from .failed_calls import FailedCalls

        with self._turn:
            saving = None if folder is None else FailedCalls(self, self._core, folder)
            self._core.objects.on_failure = saving

    def _look(self, look: Callable[[], T]) -> T:
        """Look at the tables, once all that other threads have left is in them."""
        self._check_usable()
        with self._turn:
            self._loop.pump()
            self._core.drain()
            seen = look()
        self._core.after_turn()
        return seen

    def _change(self, change: Callable[[], T]) -> T:
        """Change the tables, once what other threads have left is in them."""
        self._check_usable()
        with self._turn:
            self._core.drain()
            done = change()
        self._core.after_turn()
        return done

    # --- the engine ---

    def describe(self, ref: ObjectRef[Any]) -> str:
        return self._results.describe(ref)

    def resources(self) -> Mapping[str, float]:
        return dict(self._resources)

    def close(self) -> None:
        with self._closing:
            if self._closed or isinstance(self._refusal, ForkedError):
                return
            self._closed = True
            self._refusal = self._refusal or EngineClosedError()
        self._ctrl_c.remove()
        unregister_engine(self)
        self._waits.end(self._refusal)
        with self._turn:
            self._core.take_watchers()
            self._core.objects.note_unread()
        self._loop.close()
        # Before the turn: who stores something takes them in this order.
        self._store.storage.close()
        with self._turn:
            self._core.close()
            self._objects.clear()
        self._core.after_turn()

    def handle_died(self) -> None:
        # One system call that cannot block, fit for a finaliser; the engine's thread does the rest.
        self._loop.wake()

    def _give_up(self, reason: str) -> None:
        self._refusal = EngineError(reason)
        self._waits.end(self._refusal)

    def _check_usable(self) -> None:
        if self._refusal is not None:
            raise self._refusal

    def _call_later(self, call: Callable[[], None]) -> None:
        """Have the engine's own thread call this, or who leads. Fit for a signal handler."""
        self._core.callbacks.append(call)
        self._loop.wake()

    def _wake_loop(self) -> None:
        if not self._loop.is_led_here():
            self._loop.wake()


def _start_core(session: str, config: Config, spawner: SpawnerHandle) -> Core:
    """Start the core, or end the spawner. Raises WorkerStartError if that is refused (EMFILE)."""
    try:
        return Core(session, config, spawner)
    except BaseException as error:
        spawner.close(0)
        spawner.errors.close()
        if isinstance(error, OSError):
            raise WorkerStartError(explain(error)) from error
        raise


def _start_loop(turn: Turn, core: Core) -> Loop:
    """Start the engine's thread, or end the core. Raises WorkerStartError if that is refused."""
    try:
        return Loop(turn, core.poller, core)
    except RuntimeError as error:
        core.close()
        raise WorkerStartError(explain(OSError(errno.EAGAIN, str(error)))) from error


def _refuse_in_child() -> None:
    """After os.fork(): the engine belongs to the parent; nothing here may touch its processes."""
    for engine in list(_engines):
        engine._refusal = error = ForkedError()
        engine._objects = {}  # not cleared: that would copy the pages they lie on
        engine._waits.end_in_child(error)


os.register_at_fork(after_in_child=_refuse_in_child)
