"""The engine on a Flame cluster, as code above the seam sees it.

Everything that an engine knows belongs to one thread, that of the connection's loop. Other threads
put what they want into an inbox and wait on events. So Ctrl-C, which strikes a user's thread
anywhere, can tear nothing.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from flame_remote import _ids
from flame_remote._deadline import Deadline
from flame_remote._execute.callbacks import call_back
from flame_remote._execute.failure import rebuild_error
from flame_remote._execute.frames import without_own_frames
from flame_remote._execute.unread import report_unread
from flame_remote._ids import ActorId, ObjectId, TaskId
from flame_remote._outcome import Kind
from flame_remote._refs import ObjectRef, register_engine, unregister_engine
from flame_remote._spec import UNLIMITED, CallLimits, Restarts, Target, TargetKind, TaskSpec
from flame_remote._wire.packing import Packed
from flame_remote.engine import Engine
from flame_remote.exceptions import (
    EngineClosedError,
    FlameError,
    GetTimeoutError,
    SessionEndedError,
    TaskDeadlineError,
)

from .batching import Pace
from .cache import Cache
from .callbacks import Callbacks
from .cluster import Cluster
from .desk import Desk
from .explaining import explain, progress
from .inbox import Inbox
from .post import Post
from .program import SHARED, Program
from .routes import Routes, refuse_limits, refuse_restarts
from .services import Services
from .stored import Stored
from .table import Table
from .values import Values
from .waits import Waiter, Waits

if TYPE_CHECKING:
    from flame_remote.core.context import FlameContext


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
        self.program = program
        self.name = name
        self._ids = _ids.id_source(origin)
        self._cluster = cluster
        self._cache = cache
        self._inbox = Inbox(cluster.loop, self._turn)
        self.ref_events = self._inbox.events
        self.target_events = self._inbox.target_events
        # Set once, under self._closing; read at any time.
        self._closing = threading.Lock()
        self._closed = False
        # Belongs to the engine's thread; other threads look objects up, and begin some.
        self._table = Table(name)
        self._targets: dict[int, int] = {}  # how many there are of each, by id
        pace = Pace()
        routes = Routes(program, pace, grace)
        self.values = Values(program, cache, self._table, self._inbox)
        self._desk = Desk(self._table, pace, routes.lane_of, self.values.mailbox_of)
        self._callbacks = Callbacks()
        self._post = Post(self._desk, cluster, cache, program, common, self._inbox.wake)
        # They enter the engine's thread themselves.
        self._waits = Waits(self._inbox, self._desk.replies.want, self._sleep)
        self._services = Services(self._inbox, cluster, routes, self._desk, self._post.sessions)
        register_engine(self)
        self._inbox.start()

    # --- the engine's thread ---

    def _turn(self) -> None:
        """Take in what other threads want and what has died; do what follows from it."""
        self._inbox.work_off(self._table.count)
        self._count_targets()
        gone = self._table.take_gone()
        for data in gone.unread:
            self._callbacks.call(partial(report_unread, data))
        self._post.after_turn(gone)

    def _count_targets(self) -> None:
        events = self._inbox.target_events
        while events:
            event = events.popleft()
            left = self._targets.get(abs(event), 0) + (1 if event < 0 else -1)
            self._targets[abs(event)] = left
            if not left:
                del self._targets[abs(event)]
                self._post.forget_code(abs(event))

    # --- tasks ---

    def new_id(self) -> TaskId:
        return next(self._ids)

    def current_task(self) -> TaskId:
        return 0

    def check_demand(self, name: str, amounts: Mapping[str, float]) -> None:
        self.program.check_demand(name, amounts)

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
        self._inbox.tell(partial(self._desk.submit, spec))
        if spec.target.limits is not UNLIMITED:
            self._inbox.tell(partial(self._begin_deadline, spec))
        return ref

    def _begin_deadline(self, spec: TaskSpec) -> None:
        seconds, name = spec.target.limits.deadline, spec.target.name
        stored = self._table.by_id.get(spec.id)
        if seconds is None or stored is None or stored.done:
            return

        def end() -> None:
            self._desk.end(spec.id, lambda _: TaskDeadlineError(name, seconds, name))
            self._inbox.wake()

        timer = self._cluster.loop.call_later(seconds, end)
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
        return self._inbox.ask(partial(self._desk.cancel, ref._id))

    def check_restarts(self, name: str, restarts: Restarts) -> None:
        refuse_restarts(name)

    def kill(self, actor: ActorId, *, may_restart: bool = False) -> None:
        self._check_usable()
        if may_restart:
            refuse_restarts("kill(no_restart=False)")
        self._inbox.ask(partial(self._desk.kill, actor, "it was ended by flame.kill()"))

    def has_died(self, actor: ActorId) -> bool:
        stored = self._table.by_id.get(actor)
        if stored is None:
            return False
        lane = stored.lane
        return stored.kind == Kind.FAILED or (lane is not None and bool(lane.how_it_died))

    def handle_died(self) -> None:
        self._inbox.wake()

    # --- services of a Runner ---

    def open_service(self, target: Target) -> None:
        self._check_usable()
        if target.kind is TargetKind.FUNCTION:
            self._services.open(target)

    def close_service(self, target: Target) -> None:
        if target.kind is TargetKind.FUNCTION and not self._closed:
            self._services.close(target)

    def check_answers(self, what: str) -> None:
        self._cluster.check_answers(what)

    # --- objects ---

    def put(self, packed: Packed) -> ObjectRef[Any]:
        self._check_usable()
        kind, data = self.values.store(packed)
        inside = tuple([inner._id for inner in packed.refs])
        stored = self._table.add(self.new_id())
        ref: ObjectRef[Any] = ObjectRef(stored.id, self)
        stored.inside, stored.data = inside, data
        stored.kind = int(kind)  # last: other threads look at it first
        if inside:
            self._inbox.tell(partial(self._table.hold, inside))
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
        self._inbox.ask(partial(self._drop_all, [ref._id for ref in refs]))

    def _drop_all(self, object_ids: Sequence[ObjectId]) -> None:
        for object_id in object_ids:
            self._table.drop(object_id)

    def is_kept(self, object_id: ObjectId) -> bool:
        self._check_usable()
        return self._inbox.ask(lambda: object_id in self._table.by_id)

    def is_done(self, ref: ObjectRef[Any]) -> bool:
        return self._find(ref).done

    def on_done(self, ref: ObjectRef[Any], callback: Callable[[ObjectRef[Any]], object]) -> None:
        entry = self._find(ref)
        call = partial(call_back, callback, ref, ctrl_c=False)
        if entry.done or self._closed:
            call()
        else:
            self._waits.watch(entry, partial(self._callbacks.call, call))

    # --- the engine ---

    def explain(self, ref: ObjectRef[Any]) -> str:
        self._check_usable()
        return self._inbox.ask(partial(explain, self._table, ref._id))

    def describe(self, ref: ObjectRef[Any]) -> str:
        return self._table.describe(ref._id)

    def resources(self) -> Mapping[str, float]:
        return self.program.resources()

    def close(self) -> None:
        with self._closing:
            if self._closed:
                return
            self._closed = True
        unregister_engine(self)
        self._shut(EngineClosedError("flame was shut down while this call waited"))

    def _shut(self, error: FlameError) -> None:
        """End what waits, and what runs on the loop."""
        try:
            self._inbox.ask(partial(self._end_waits, error), seconds=5.0)
            self._cluster.connection.wait_for(self._post.end_actors(), 2.0)
        finally:
            self._callbacks.close()

    def _end_waits(self, error: FlameError) -> None:
        self._inbox.close()
        self._waits.end_all(error)
        for stored in list(self._table.by_id.values()):
            if stored.kind == Kind.FAILED and not stored.was_read:
                self._callbacks.call(partial(report_unread, stored.data))
            watchers, stored.watchers = stored.watchers, []
            for watcher in watchers:
                watcher(stored)
        self._post.close()

    # --- waiting ---

    def _check_usable(self) -> None:
        if self._closed:
            raise EngineClosedError()

    def _find(self, ref: ObjectRef[Any]) -> Stored:
        stored = self._table.by_id.get(ref._id)
        if stored is None or self._closed:
            raise SessionEndedError(f"an ObjectRef to {self.describe(ref)}")
        return stored

    def _wait(
        self, entries: list[Stored], number: int, deadline: Deadline, *, stop_at_failure: bool
    ) -> None:
        """Wait until so many are there; return when the time is over, too."""
        self._check_usable()
        self._waits.wait(entries, number, deadline, stop_at_failure=stop_at_failure)

    def _sleep(self, waiter: Waiter, entries: list[Stored], deadline: Deadline) -> None:
        waiter.wait(deadline.remaining())

    def _load(self, ref: ObjectRef[Any], entry: Stored) -> Any:
        what = f"the result of {entry.name}()" if entry.name else self.describe(ref)
        return self.values.load(entry.id, entry.kind, entry.data, what, "driver")
