"""The engine on a Flame cluster, as code above the seam sees it.

Everything that an engine knows belongs to one thread, that of the connection's loop. Other threads
put what they want into an inbox and wait on events. So Ctrl-C, which strikes a user's thread
anywhere, can tear nothing.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from time import monotonic
from typing import TYPE_CHECKING, Any, Final, TypeVar

from flame_remote import _ids
from flame_remote._deadline import Deadline
from flame_remote._execute.failure import rebuild_error
from flame_remote._execute.frames import without_own_frames
from flame_remote._execute.result import cannot_rebuild
from flame_remote._execute.unread import report_unread
from flame_remote._ids import ActorId, ObjectId, TaskId
from flame_remote._outcome import Kind
from flame_remote._refs import ObjectRef, register_engine, unregister_engine
from flame_remote._spec import UNLIMITED, CallLimits, Restarts, Target, TargetKind, TaskSpec
from flame_remote._wire.packing import Packed, unpack
from flame_remote.engine import Engine
from flame_remote.exceptions import (
    ClusterError,
    ClusterTimeoutError,
    EngineClosedError,
    FlameError,
    FlameErrorCode,
    GetTimeoutError,
    SessionEndedError,
    TaskDeadlineError,
    UnschedulableError,
)

from .batch import Key
from .batching import Pace
from .blobs import open_blob, pieces_of
from .cache import Cache
from .callbacks import Callbacks
from .cluster import Cluster
from .desk import Desk
from .explaining import explain, progress
from .lanes import Lane
from .post import Post
from .program import MAIL, OBJECTS, SHARED, Program
from .routes import Routes, refuse_limits, refuse_restarts
from .stored import Stored
from .table import Table
from .waits import Waiter

if TYPE_CHECKING:
    from flame_remote.core.context import FlameContext

T = TypeVar("T")
Callback = Callable[[ObjectRef[Any]], object]

_TICK_SECONDS: Final = 0.1  # how long a dead ref may wait for something else to happen
_SERVICE_SECONDS: Final = 30.0  # for the opening of a service's session, and for its closing
_LOOK_SECONDS: Final = 5.0  # that pass in a long wait before it is asked whether there is a point
_ANSWER_SECONDS: Final = 5.0  # for an answer of the cluster, or of the engine's own thread


class FlameEngine(Engine):
    """Runs tasks on a cluster. Safe to call from any thread."""

    def __init__(
        self,
        program: Program,
        cluster: Cluster,
        cache: Cache,
        *,
        common: bytes,
        name: str,
        origin: int,
        grace: float = 0.0,
    ) -> None:
        """Begin on a cluster where the program's applications are registered.

        `common` is what sessions are opened with: where workers find what to execute. `name` tells
        this engine from those that work for the same program, `origin` its ids from theirs. Calls
        of functions are kept for `grace` seconds before they are sent.
        """
        # Constant after construction.
        self.session = program.session
        self.cluster: FlameContext | None = cluster.context
        # Also what other threads want done, in one row with what happens to their refs: so whatever
        # holds an object comes before the death of the ref by which it was known, and a birth
        # before the end of what held the object until then.
        self.ref_events: deque[Any] = deque()
        self.target_events: deque[int] | None = deque()
        self.program = program
        self.name = name
        self._ids = _ids.id_source(origin)
        self._cluster = cluster
        self._cache = cache
        self._loop = cluster.loop
        self._closing = threading.Lock()
        self._awake = False  # the engine's thread has been told to look; set before, cleared in it
        # Why the engine cannot be used; set once, read at any time.
        self._refusal: FlameError | None = None
        # Belongs to the engine's thread; other threads look objects up, and begin some.
        self._table = Table(name)
        self._targets: dict[int, int] = {}  # how many there are of each, by id
        self._pace = Pace()
        self._routes = Routes(program, self._pace, grace)
        self._desk = Desk(self._table, self._pace, self._routes.lane_of, self._mailbox_of)
        self._callbacks = Callbacks()
        self._post = Post(self._desk, cluster, cache, program, common, self.wake)
        self._waiters: set[Waiter] = set()
        self._timer: asyncio.TimerHandle | None = None
        register_engine(self)
        self._loop.call_soon_threadsafe(self._tick)

    # --- the engine's thread ---

    def wake(self) -> None:
        """Have the engine's thread look what there is to do. Any thread; never blocks."""
        if not self._awake:
            self._awake = True
            with suppress(RuntimeError):  # closed: nothing is done any more
                self._loop.call_soon_threadsafe(self._turn)

    def _tell(self, what: Callable[[], object]) -> None:
        self.ref_events.append(what)
        self.wake()

    def ask(self, what: Callable[[], T], seconds: float = 12 * _ANSWER_SECONDS) -> T:
        """Call a function in the engine's thread and return what it returns. Blocks.

        Raises EngineClosedError if there is no answer in time: then that thread has ended.
        """
        answer: list[T] = []
        error: list[BaseException] = []
        done = threading.Event()

        def answer_it() -> None:
            try:
                answer.append(what())
            except BaseException as raised:
                error.append(raised)
            done.set()

        self._tell(answer_it)
        done.wait(seconds)
        if error:
            raise error[0]
        if not answer:
            raise self._refusal or EngineClosedError()
        return answer[0]

    def _turn(self) -> None:
        """Take in what other threads want and what has died; do what follows from it."""
        self._awake = False
        events = self.ref_events
        while events:
            event = events.popleft()
            if type(event) is int:
                self._table.count(event)
                continue
            try:
                event()
            except Exception:  # a bug; but what else is in the row must not suffer
                import logging

                logging.getLogger("flame_remote").exception("the engine failed at %r", event)
        self._count_targets()
        gone = self._table.take_gone()
        for data in gone.unread:
            self._callbacks.call(partial(report_unread, data))
        self._post.after_turn(gone)

    def _count_targets(self) -> None:
        events = self.target_events
        while events:
            event = events.popleft()
            left = self._targets.get(abs(event), 0) + (1 if event < 0 else -1)
            self._targets[abs(event)] = left
            if not left:
                del self._targets[abs(event)]
                self._post.forget_code(abs(event))

    def _tick(self) -> None:
        if self._refusal is None:
            self._timer = self._loop.call_later(_TICK_SECONDS, self._tick)
            if self.ref_events or self.target_events:
                self.wake()

    # --- tasks ---

    def new_id(self) -> TaskId:
        return next(self._ids)

    def current_task(self) -> TaskId:
        return 0

    def check_demand(self, name: str, amounts: Mapping[str, float]) -> None:
        nodes = self.program.nodes
        most = {
            "CPU": max((cpus for cpus, _ in nodes), default=None),
            "GPU": max((gpus for _, gpus in nodes), default=None),
        }
        for resource, needed in amounts.items():
            if resource == "memory":
                continue  # of which the cluster says too little
            available = most.get(resource, 0.0)
            if available is not None and needed > available:
                raise UnschedulableError(name, resource, needed, available)

    def check_limits(self, name: str, limits: CallLimits) -> None:
        refuse_limits(name, limits)

    def submit(self, spec: TaskSpec) -> ObjectRef[Any]:
        self._check_usable()
        by_id = self._table.by_id
        for place, object_id in spec.dependencies:
            if object_id not in by_id:
                raise SessionEndedError(f"argument {place!r} of {spec.target.name}()")
        self._table.add(spec.id, spec.target.name)
        ref: ObjectRef[Any] = ObjectRef(spec.id, self)
        self._tell(partial(self._desk.submit, spec))
        if spec.target.limits is not UNLIMITED:
            self._tell(partial(self._begin_deadline, spec))
        return ref

    def _begin_deadline(self, spec: TaskSpec) -> None:
        seconds, name = spec.target.limits.deadline, spec.target.name
        stored = self._table.by_id.get(spec.id)
        if seconds is None or stored is None or stored.done:
            return

        def end() -> None:
            self._desk.end(spec.id, lambda _: TaskDeadlineError(name, seconds, name))
            self.wake()

        timer = self._loop.call_later(seconds, end)
        stored.watchers.append(lambda _: timer.cancel())

    def submit_several(self, spec: TaskSpec) -> list[ObjectRef[Any]]:
        refs: list[ObjectRef[Any]] = []
        for object_id in spec.returns or ():
            self._table.add(object_id, spec.target.name)
            refs.append(ObjectRef(object_id, self))
        self.submit(spec)  # nobody keeps the ref to the value as a whole
        return refs

    def cancel(self, ref: ObjectRef[Any], force: bool, recursive: bool = True) -> bool:
        self._check_usable()
        return self.ask(partial(self._desk.cancel, ref._id))

    def check_restarts(self, name: str, restarts: Restarts) -> None:
        refuse_restarts(name)

    def kill(self, actor: ActorId, *, may_restart: bool = False) -> None:
        self._check_usable()
        if may_restart:
            refuse_restarts("kill(no_restart=False)")
        self.ask(partial(self._desk.kill, actor, "it was ended by flame.kill()"))

    def has_died(self, actor: ActorId) -> bool:
        stored = self._table.by_id.get(actor)
        if stored is None:
            return False
        lane = stored.lane
        return stored.kind == Kind.FAILED or (lane is not None and bool(lane.how_it_died))

    def handle_died(self) -> None:
        self.wake()

    # --- services of a Runner ---

    def open_service(self, target: Target) -> None:
        self._check_usable()
        if target.kind is TargetKind.FUNCTION:
            lane = self.ask(partial(self._routes.lane_of_function, target))
            self._cluster.connection.wait_for(self._post.sessions.open(lane), _SERVICE_SECONDS)

    def close_service(self, target: Target) -> None:
        if target.kind is not TargetKind.FUNCTION or self._refusal is not None:
            return
        ended = threading.Event()
        lanes: list[Lane] = []
        self._tell(partial(self._end_service, target, ended, lanes))
        idle_since = monotonic()
        while not ended.wait(_LOOK_SECONDS):
            self.check_answers(f"the service of {target.name}() cannot be closed")
            if lanes and (lanes[0].is_busy or lanes[0].queue):
                idle_since = monotonic()  # calls of ours run there: as long as they take
            elif monotonic() - idle_since > _SERVICE_SECONDS:
                raise self._stays_open(target, lanes)

    def _stays_open(self, target: Target, lanes: list[Lane]) -> ClusterError:
        session_id = lanes[0].plan.session_id if lanes else "unknown"
        return ClusterError(
            f"the service of {target.name}() cannot be closed: for {_SERVICE_SECONDS:g} s the "
            f"cluster has kept its session {session_id} open, as tasks run there that are not of "
            f"this program; close it later with: flmctl close -s {session_id}",
            FlameErrorCode.INVALID_STATE,
        )

    def check_answers(self, what: str) -> None:
        from flame_remote._proto import frontend_pb2

        try:
            self._cluster.call("ListNodes", frontend_pb2.ListNodesRequest(), _ANSWER_SECONDS)
        except ClusterTimeoutError as error:
            raise ClusterTimeoutError(f"{what}: {error}") from None

    def _end_service(self, target: Target, ended: threading.Event, lanes: list[Lane]) -> None:
        lane = self._routes.forget(target)
        if lane is None:
            ended.set()
        else:
            lanes.append(lane)
            self._desk.end_service(lane, ended.set)

    # --- objects ---

    def put(self, packed: Packed) -> ObjectRef[Any]:
        self._check_usable()
        kind, data = self.store(packed)
        return self._add_value(int(kind), data, tuple(ref._id for ref in packed.refs))

    def store(self, packed: Packed) -> tuple[Kind, Any]:
        """Put a value into the cache unless it is small; return what is kept of it. Blocks."""
        if packed.rides_inline:
            return Kind.PICKLED, packed.data
        return Kind.STORED, self._cache.put(self.program.prefix(OBJECTS), pieces_of(packed))

    def delete(self, keys: Sequence[Key]) -> None:
        """Delete what `store` has put into the cache and nobody refers to, some time soon."""
        self._tell(lambda: self._table.gone.keys.extend(keys))

    def fetch(self, key: Key) -> Any:
        """Return the bytes of an object, read-only. Blocks."""
        return self._cache.get(key, 0)

    def _add_value(self, kind: int, data: Any, inside: tuple[ObjectId, ...]) -> ObjectRef[Any]:
        stored = self._table.add(self.new_id())
        ref: ObjectRef[Any] = ObjectRef(stored.id, self)
        stored.inside, stored.data = inside, data
        stored.kind = kind
        if inside:
            self._tell(partial(self._table.hold, inside))
        return ref

    def get(self, refs: Sequence[ObjectRef[Any]], deadline: Deadline) -> list[Any]:
        try:
            self.join(refs, deadline)
            return [self._load(ref, self._find(ref)) for ref in refs]
        except BaseException as error:
            # The same error, with this function as its only frame of ours.
            raise error.with_traceback(without_own_frames(error.__traceback__))  # noqa: B904

    def join(self, refs: Sequence[ObjectRef[Any]], deadline: Deadline) -> None:
        entries = [self._find(ref) for ref in refs]
        if not all(entry.kind for entry in entries):
            self._wait(entries, len(entries), deadline, stop_at_failure=True)
        for entry in entries:
            if entry.kind == Kind.FAILED:
                entry.was_read = True
                raise rebuild_error(entry.data)
        late = [entry for entry in entries if not entry.kind]
        if late:
            texts = tuple(progress(self._table, entry) for entry in late[:10])
            raise GetTimeoutError(len(late), len(refs), deadline.seconds or 0.0, texts)

    def reference_to(self, ref: ObjectRef[Any], deadline: Deadline) -> Any:
        from flame_remote.core.objects import put_object

        (value,) = self.get([ref], deadline)
        entry = self._find(ref)
        if entry.outside is None:
            context = self._cluster.context
            entry.outside = put_object(self.program.prefix(SHARED), value, context=context)
        return entry.outside

    def wait(
        self, refs: Sequence[ObjectRef[Any]], num_returns: int, deadline: Deadline
    ) -> set[ObjectId]:
        entries = [self._find(ref) for ref in refs]
        if sum([entry.kind != 0 for entry in entries]) < num_returns:
            self._wait(entries, num_returns, deadline, stop_at_failure=False)
        return {entry.id for entry in entries if entry.kind}

    def free(self, refs: Sequence[ObjectRef[Any]]) -> None:
        self._check_usable()
        self.ask(partial(self._drop_all, [ref._id for ref in refs]))

    def _drop_all(self, object_ids: Sequence[ObjectId]) -> None:
        for object_id in object_ids:
            self._table.drop(object_id)

    def is_kept(self, object_id: ObjectId) -> bool:
        self._check_usable()
        return self.ask(lambda: object_id in self._table.by_id)

    def is_done(self, ref: ObjectRef[Any]) -> bool:
        return self._find(ref).done

    def on_done(self, ref: ObjectRef[Any], callback: Callback) -> None:
        entry = self._find(ref)
        call = partial(_call_back, callback, ref)

        def watch() -> None:
            if entry.done:
                self._callbacks.call(call)
            else:
                entry.watchers.append(lambda _: self._callbacks.call(call))
                self._desk.replies.want(entry)

        if entry.done or self._refusal is not None:
            call()
        else:
            self._tell(watch)

    # --- the engine ---

    def explain(self, ref: ObjectRef[Any]) -> str:
        return self.ask(partial(explain, self._table, ref._id))

    def describe(self, ref: ObjectRef[Any]) -> str:
        return self._table.describe(ref._id)

    def resources(self) -> Mapping[str, float]:
        amounts = {
            "CPU": sum(cpus for cpus, _ in self.program.nodes),
            "GPU": sum(gpus for _, gpus in self.program.nodes),
        }
        return {name: amount for name, amount in amounts.items() if amount}

    def close(self) -> None:
        with self._closing:
            if self._refusal is not None:
                return
            self._refusal = EngineClosedError()
        unregister_engine(self)
        self._shut(EngineClosedError("flame was shut down while this call waited"))

    def _shut(self, error: FlameError) -> None:
        """End what waits, and what runs on the loop."""
        try:
            self.ask(partial(self._end_waits, error), seconds=5.0)
            self._cluster.connection.wait_for(self._post.end_actors(), 2.0)
        finally:
            self._callbacks.close()

    def _end_waits(self, error: FlameError) -> None:
        if self._timer is not None:
            self._timer.cancel()
        for waiter in self._waiters:
            waiter.fail(error)
        self._waiters.clear()
        for stored in list(self._table.by_id.values()):
            if stored.kind == Kind.FAILED and not stored.was_read:
                self._callbacks.call(partial(report_unread, stored.data))
            watchers, stored.watchers = stored.watchers, []
            for watcher in watchers:
                watcher(stored)
        self._post.close()

    # --- waiting ---

    def _check_usable(self) -> None:
        if self._refusal is not None:
            raise self._refusal

    def _find(self, ref: ObjectRef[Any]) -> Stored:
        stored = self._table.by_id.get(ref._id)
        if stored is None or self._refusal is not None:
            raise SessionEndedError(f"an ObjectRef to {self.describe(ref)}")
        return stored

    def _wait(
        self, entries: list[Stored], number: int, deadline: Deadline, *, stop_at_failure: bool
    ) -> None:
        """Wait until so many are there; return when the time is over, too."""
        self._check_usable()
        waiter = Waiter(number, stop_at_failure=stop_at_failure)
        self._tell(partial(self._begin_wait, waiter, entries))
        try:
            self._sleep(waiter, entries, deadline)
        finally:
            self._tell(partial(self._end_wait, waiter, entries))
        if waiter.error is not None:
            raise waiter.error

    def _sleep(self, waiter: Waiter, entries: list[Stored], deadline: Deadline) -> None:
        waiter.wait(deadline.remaining())

    def _begin_wait(self, waiter: Waiter, entries: list[Stored]) -> None:
        if self._refusal is not None:
            waiter.fail(EngineClosedError("flame was shut down while this call waited"))
            return
        self._waiters.add(waiter)
        for entry in entries:
            if entry.done:
                waiter.note(entry)
            else:
                entry.watchers.append(waiter.note)
                self._desk.replies.want(entry)

    def _end_wait(self, waiter: Waiter, entries: list[Stored]) -> None:
        self._waiters.discard(waiter)
        for entry in entries:
            if waiter.note in entry.watchers:
                entry.watchers.remove(waiter.note)

    def _load(self, ref: ObjectRef[Any], entry: Stored) -> Any:
        what = f"the result of {entry.name}()" if entry.name else self.describe(ref)
        return self.load_value(entry.id, entry.kind, entry.data, what, "driver")

    def load_value(self, object_id: ObjectId, kind: int, data: Any, what: str, where: str) -> Any:
        """Rebuild a value from what is kept of it. May block; runs code of the value."""
        if kind == Kind.ATOM:
            return data
        try:
            if kind == Kind.PICKLED:
                return unpack(data)
            pickled, buffers = open_blob(self._cache.get(data, object_id))
            return unpack(pickled, buffers)
        except FlameError:
            raise
        except Exception as error:
            raise cannot_rebuild(what, where, error) from error

    # --- where things go ---

    def _mailbox_of(self, object_id: ObjectId) -> Any:
        return self._cache.key_at(self.program.prefix(MAIL), f"{object_id:x}")


def _call_back(callback: Callback, ref: ObjectRef[Any]) -> None:
    try:
        callback(ref)
    except Exception:
        import logging

        logging.getLogger("flame_remote").exception("a done callback of %r failed", ref)
