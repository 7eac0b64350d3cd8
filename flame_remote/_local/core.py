"""The engine's core: feeds the scheduler with what happens, and does what it decides.

Every method is called inside a turn, unless it says otherwise.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Final

from flame_remote._config import Config
from flame_remote._execute.failure import add_needed_by, encode_error
from flame_remote._ids import ActorId, ObjectId, TaskId, WorkerId
from flame_remote._outcome import Kind
from flame_remote._scheduling import commands, events
from flame_remote._scheduling.records import TaskRecord
from flame_remote._scheduling.scheduler import Scheduler
from flame_remote._spec import TaskSpec
from flame_remote.exceptions import (
    ActorDiedError,
    FlameError,
    TaskCancelledError,
    WorkerCrashedError,
    WorkerStartError,
)

from .arena import SEGMENT_SHIFT
from .inbound import Inbound
from .mapping import MappingCache
from .messages import (
    Deadlock,
    Dependency,
    Free,
    Interrupt,
    LoadTarget,
    Ready,
    Recall,
    Retire,
    RunTasks,
    Segment,
    Stop,
    TaskEntry,
    Values,
)
from .objects import ObjectTable, StoredObject, held_by, report_all_unread
from .poller import Poller
from .progress import Progress
from .room import Room
from .segments import Segments
from .spawning import SpawnerHandle
from .turn import Turn
from .values import Location, Storage
from .waits import RemoteRequest
from .workers import OutputPipe, WorkerHandle

_FAILED: Final = int(Kind.FAILED)
_STORED: Final = int(Kind.STORED)
# How long the processes may take to end by themselves when the engine is closed.
_GRACE_SECONDS: Final = 2.0


class Core:
    """The driver's state: scheduler, objects, workers, spawner."""

    def __init__(
        self, session: str, config: Config, turn: Turn, spawner: SpawnerHandle
    ) -> None:
        # Constant after construction.
        self._session = session
        self._config = config
        self._turn = turn
        self.mappings = MappingCache()
        self.storage: Storage  # set by the engine, whose memory it is
        # Appended to by any thread, taken inside a turn.
        self.inbox: deque[TaskSpec] = deque()
        self._closed = False
        self.drain_is_due = False  # somebody has been woken to drain
        self.ref_events: deque[int] = deque()
        self.unpinned: deque[ObjectId] = deque()  # as in LocalCounts, for the driver itself
        # Taken outside a turn.
        self.callbacks: deque[Callable[[], None]] = deque()
        self._printed: deque[tuple[OutputPipe, str]] = deque()
        # Guarded by self._turn; the scheduler's and the objects' tables may be read at any time.
        self.scheduler = Scheduler(config.amounts())
        self.objects = ObjectTable()
        self.segments = Segments(config.store_bytes, self.mappings)
        self.room = Room(self)
        self.poller = Poller()
        self.workers: dict[WorkerId, WorkerHandle] = {}
        self.wake_loop: Callable[[], None] = lambda: None
        self.answerable: deque[RemoteRequest] = deque()
        self._spawner: SpawnerHandle | None = None
        self._progress = Progress()
        self._inbound = Inbound(self)
        self._last_output = ""
        # Actors that ended otherwise than for want of handles; with them until the session ends.
        self._how_actors_died: dict[ActorId, tuple[str, str]] = {}
        self._use_spawner(spawner)
        self._perform: dict[type, Callable[[Any], None]] = {
            commands.StartWorker: self._start_worker,
            commands.StopWorker: self._stop_worker,
            commands.KillWorker: self._kill_worker,
            commands.SendTasks: self._send_tasks,
            commands.RecallTasks: self._recall,
            commands.InterruptTask: self._interrupt,
            commands.EndTask: self._end_task,
            commands.ReportDeadlock: self._report_deadlock,
        }

    # --- driving ------------------------------------------------------------------------

    def drain(self) -> None:
        """Take in what other threads have left: calls first, for they hold what refs let go."""
        if self._closed:
            return
        self.drain_is_due = False
        number = len(self.ref_events)
        if self.inbox:
            self._take_calls()
        if number:
            self.objects.apply(self.ref_events, number)
        while self.unpinned:
            self.objects.unpin(self.unpinned.popleft())
        if self.objects.freed or self.objects.gone:
            self._let_go()

    def feed(self, event: events.Event) -> None:
        """Tell the scheduler, do what it says, answer those whose wait is over by that."""
        self.perform(self.decide(event))
        self.settle_requests()

    def decide(self, event: events.Event) -> list[commands.Command]:
        """Tell the scheduler; return what it wants done, in order."""
        return self.scheduler.handle(time.monotonic(), event)

    def end_tasks(self, decided: list[commands.Command]) -> set[TaskId]:
        """Do first, and take out, what ends tasks; return which those are."""
        endings = [command for command in decided if type(command) is commands.EndTask]
        for command in endings:
            if command.ending is commands.Ending.CANCELLED:
                self._end_task(command)
        return {command.task_id for command in endings}

    def perform(self, decided: Sequence[commands.Command]) -> None:
        """Do what the scheduler has decided."""
        perform = self._perform
        for command in decided:
            perform[type(command)](command)
        if self.scheduler.next_tick is not None:
            self.wake_loop()

    def settle_requests(self) -> None:
        """Answer requests of tasks that can be answered now."""
        while self.answerable:
            self._answer(self.answerable.popleft())
        if self.objects.freed or self.objects.gone:
            self._let_go()

    def next_timer(self) -> float | None:
        """Return when `on_timer` is due, on time.monotonic(). Any thread, at any time."""
        return self.scheduler.next_tick

    def on_timer(self) -> None:
        """A timer is due."""
        self.feed(events.Tick())

    def after_turn(self) -> None:
        """Do what may run user code, or block: outside a turn, in any thread."""
        while self._printed:
            pipe, text = self._printed.popleft()
            pipe.print(text)
        while self.callbacks:
            self.callbacks.popleft()()
        if self.objects.unread:
            report_all_unread(self.objects.unread)

    def _take_calls(self) -> None:
        records: list[TaskRecord] = []
        inbox, objects = self.inbox, self.objects
        failed: list[tuple[TaskSpec, ObjectId]] = []
        while inbox:
            spec = inbox.popleft()
            if spec.dependencies or spec.nested or spec.actor:
                objects.hold(held_by(spec))
                culprit = self._failed_dependency(spec)
                if culprit:
                    failed.append((spec, culprit))
                    continue
            records.append(TaskRecord(spec))
        if records:
            self.feed(events.TasksSubmitted(records))
        for spec, culprit in failed:
            data = add_needed_by(objects.by_id[culprit].data, spec.target.name)
            objects.settle(spec.id, _FAILED, data, ())

    def _failed_dependency(self, spec: TaskSpec) -> ObjectId:
        by_id = self.objects.by_id
        for _, object_id in spec.dependencies:
            stored = by_id[object_id]
            if stored.kind == _FAILED:
                stored.was_read = True
                return object_id
        return 0

    def _let_go(self) -> None:
        """Free the memory of objects that are gone; end actors that nobody refers to."""
        objects = self.objects
        while objects.freed:
            self.free(objects.freed.popleft())
        while self.segments.retired:
            segment = self.segments.retired.popleft()
            for worker in self.workers.values():
                if segment in worker.segments:
                    worker.segments.remove(segment)
                    self.send(worker, Retire(segment))
        while objects.gone:
            self.feed(events.ActorReleased(objects.gone.popleft()))

    def free(self, location: Location) -> None:
        """Give a stored value's memory back to its owner."""
        if self.room.free(location):
            return
        segment, offset, size, _ = location
        if not self.segments.value_freed(segment, size):
            return
        owner = self.workers.get(segment >> SEGMENT_SHIFT)
        if owner is not None:
            self.send(owner, Free([(segment, offset, size)]))
        else:
            self.storage.free(segment, offset, size)

    # --- workers ------------------------------------------------------------------------

    def send(
        self, worker: WorkerHandle, message: Any, descriptors: list[int] | None = None
    ) -> None:
        """Send a worker a message; if its channel is full, when it takes more."""
        if not worker.send(message, descriptors):
            self.poller.want_write(worker.channel.fileno(), True)

    def _start_worker(self, command: commands.StartWorker) -> None:
        if self._spawner is None:
            self._start_spawner()
        assert self._spawner is not None
        self._progress.reset(command.worker_id)
        worker = WorkerHandle(command.worker_id, command.actor_id)
        worker.path = None
        self.workers[worker.id] = worker
        self._spawner.start_worker(worker.id, worker.theirs)
        worker.close_theirs()
        self.poller.register(worker.channel.fileno(), partial(self._on_channel, worker))
        for pipe in (worker.output, worker.errors):
            self.poller.register(pipe.descriptor, partial(self._on_output, worker, pipe))

    def _start_spawner(self) -> None:
        self._use_spawner(SpawnerHandle())

    def _use_spawner(self, spawner: SpawnerHandle) -> None:
        self._spawner = spawner
        # As many workers as CPUs run at a time: each has one.
        spawner.configure(self._session, self._config.amounts(), 1, self._progress.descriptor)
        self.poller.register(self._spawner.connection.fileno(), self._on_spawner)

    def _stop_worker(self, command: commands.StopWorker) -> None:
        worker = self.workers.get(command.worker_id)
        if worker is not None:
            self.send(worker, Stop())

    def _kill_worker(self, command: commands.KillWorker) -> None:
        if self._spawner is not None and command.worker_id in self.workers:
            self._spawner.kill_worker(command.worker_id)

    def _recall(self, command: commands.RecallTasks) -> None:
        self.workers[command.worker_id].send_control(Recall())

    def _interrupt(self, command: commands.InterruptTask) -> None:
        self.workers[command.worker_id].send_control(Interrupt(command.task_id))

    def _on_channel(self, worker: WorkerHandle, ready: int) -> None:
        if worker.flush():
            self.poller.want_write(worker.channel.fileno(), False)
        self.receive_from(worker)

    def receive_from(self, worker: WorkerHandle) -> bool:
        """Take in what a worker has sent; False when there is nothing, or nothing more."""
        try:
            messages = worker.receiver.receive()
        except BlockingIOError:
            return False
        except (ValueError, OSError):
            messages = None
        if messages is None:
            # Its end is not told by this but by the spawner, with how it ended. A worker that
            # writes nonsense has lost its mind: nothing that it says counts any more.
            self.poller.unregister(worker.channel.fileno())
            if self._spawner is not None:
                self._spawner.kill_worker(worker.id)
            return False
        for message in messages:
            self._inbound.handle(worker, message)
        if self.ref_events or self.inbox:
            self.drain()
        return True

    def _on_output(self, worker: WorkerHandle, pipe: OutputPipe, ready: int) -> None:
        text = pipe.pass_on()
        if text is None:
            self.poller.unregister(pipe.descriptor)
        elif text:
            self._printed.append((pipe, text))

    def _on_spawner(self, ready: int) -> None:
        spawner = self._spawner
        if spawner is None:
            return
        answers = spawner.receive()
        if answers is None:
            self._spawner_lost(spawner)
            return
        for answer in answers:
            worker = self.workers.get(answer["worker"])
            if worker is None:
                continue
            if answer["is"] == "started":
                worker.pid = answer["pid"]
            else:
                worker.status = answer["status"]
                worker.peak_bytes = answer.get("peak_bytes", 0)
                self._worker_lost(worker)

    def _spawner_lost(self, spawner: SpawnerHandle) -> None:
        """The spawner is gone, and so all workers: they die with it."""
        self.poller.unregister(spawner.connection.fileno())
        self._spawner = None
        spawner.close(_GRACE_SECONDS)
        for worker in list(self.workers.values()):
            worker.status = 9
            self._worker_lost(worker)

    def _worker_lost(self, worker: WorkerHandle) -> None:
        while self.receive_from(worker):
            pass  # what it had sent counts
        for pipe in (worker.output, worker.errors):
            while (text := _read(pipe)) is not None:
                self._printed.append((pipe, text))
        self._last_output = worker.last_output() or self._last_output
        if worker.actor_id:
            how = f"its process {worker.how_it_ended()}"
            self._how_actors_died.setdefault(worker.actor_id, (how, worker.last_output()))
        started = self._progress.last_started(worker.id)
        decided = self.scheduler.handle(time.monotonic(), events.WorkerLost(worker.id, started))
        # Its end is written into errors before it is forgotten; new workers do not concern it.
        self.perform(decided)
        self._forget(worker)
        self.settle_requests()

    def _forget(self, worker: WorkerHandle) -> None:
        del self.workers[worker.id]
        for descriptor in (
            worker.channel.fileno(),
            worker.output.descriptor,
            worker.errors.descriptor,
        ):
            self.poller.unregister(descriptor)
        worker.close()
        for request in worker.requests.values():
            request.queued = True  # nobody is left to be answered
        for object_id, number in worker.pinned.items():
            for _ in range(number):
                self.objects.unpin(object_id)
        self.objects.release(worker.held)
        for target in worker.exported.values():
            self.objects.release(ref._id for ref in target.refs)
        self.segments.owner_lost(worker.id, worker.reserved_bytes)
        self._let_go()

    # --- tasks --------------------------------------------------------------------------

    def _send_tasks(self, command: commands.SendTasks) -> None:
        worker = self.workers[command.worker_id]
        entries: list[TaskEntry] = []
        for record in command.records:
            spec = record.spec
            target = spec.target
            if target.method:
                name: int | str = target.method
            else:
                name = target.id
                if name not in worker.targets:
                    self._send_code(worker, spec)
            dependencies = (
                self._dependencies(worker, spec.dependencies) if spec.dependencies else ()
            )
            entries.append((spec.id, name, spec.payload, dependencies, not target.max_retries))
        self.send(worker, RunTasks(command.helps, entries))

    def _send_code(self, worker: WorkerHandle, spec: TaskSpec) -> None:
        import sys

        target = spec.target
        worker.targets.add(target.id)
        path = None if worker.path == sys.path else list(sys.path)
        worker.path = path or worker.path
        kind, concurrency = target.kind.value, target.max_concurrency
        self.send(worker, LoadTarget(target.id, kind, target.name, target.code, concurrency, path))

    def _dependencies(
        self, worker: WorkerHandle, places: Sequence[tuple[int | str, ObjectId]]
    ) -> tuple[Dependency, ...]:
        by_id = self.objects.by_id
        found: list[Dependency] = []
        for place, object_id in places:
            stored = by_id[object_id]
            found.append((place, object_id, stored.kind, self.show(worker, object_id, stored)))
        return tuple(found)

    def show(self, worker: WorkerHandle, object_id: ObjectId, stored: StoredObject) -> Any:
        """Return a value's data as a worker can read it; a stored one is pinned until it has."""
        if stored.kind != _STORED:
            return stored.data
        segment = stored.data[0]
        if segment >> SEGMENT_SHIFT != worker.id and segment not in worker.segments:
            worker.segments.add(segment)
            self.send(worker, Segment(segment), [self.segments.descriptor(segment)])
        worker.pinned[object_id] += 1
        stored.pins += 1
        return stored.data

    def _end_task(self, command: commands.EndTask) -> None:
        stored = self.objects.by_id.get(command.task_id)
        if stored is not None and stored.spec is not None:
            failure = self._failure(command, stored.spec)
            self.objects.settle(command.task_id, _FAILED, failure, ())

    def _failure(self, command: commands.EndTask, spec: TaskSpec) -> bytes:
        """Return the error of a task that has ended without a result of its own."""
        name = spec.target.name
        cause = self.objects.by_id.get(command.because)
        match command.ending:
            case commands.Ending.CANCELLED:
                return encode_error(TaskCancelledError(name))
            case commands.Ending.CRASHED:
                return encode_error(self._crash(command, name))
            case commands.Ending.UNSTARTABLE:
                return encode_error(WorkerStartError("they end at once", self._last_output))
            case _ if cause is not None and cause.kind == _FAILED:
                cause.was_read = True  # by way of this task
                return add_needed_by(cause.data, name)
            case _:
                how, output = self._how_actors_died.get(
                    command.because, ("nothing refers to it any more", "")
                )
                actor = cause.name if cause is not None else name.rpartition(".")[0]
                return encode_error(ActorDiedError(actor or name, how, output))

    def _crash(self, command: commands.EndTask, name: str) -> FlameError:
        worker = self.workers.get(command.worker_id)
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

    # --- requests of tasks ----------------------------------------------------------------

    def _answer(self, request: RemoteRequest) -> None:
        worker: WorkerHandle = request.worker
        if worker.requests.pop(request.request_id, None) is None:
            return
        by_id = self.objects.by_id
        if not request.fetches:
            ready = [i for i in request.object_ids if by_id[i].kind]
            self.send(worker, Ready(request.request_id, ready))
        else:
            self._send_values(worker, request)
        if request.blocks:
            self.perform(
                self.scheduler.handle(
                    time.monotonic(), events.TaskUnblocked(worker.id, request.request_id)
                )
            )

    def _send_values(self, worker: WorkerHandle, request: RemoteRequest) -> None:
        by_id = self.objects.by_id
        for object_id in request.object_ids:
            stored = by_id[object_id]
            if stored.kind == _FAILED:
                stored.was_read = True
                failure = [(object_id, stored.kind, stored.data)]
                self.send(worker, Values(request.request_id, failure, True))
                return
        values = [
            (object_id, by_id[object_id].kind, self.show(worker, object_id, by_id[object_id]))
            for object_id in request.object_ids
        ]
        self.send(worker, Values(request.request_id, values, False))

    def _report_deadlock(self, command: commands.ReportDeadlock) -> None:
        worker = self.workers[command.worker_id]
        if worker.requests.pop(command.request_id, None) is not None:
            self.send(worker, Deadlock(command.request_id, command.cycle))
            self.feed(events.TaskUnblocked(worker.id, command.request_id))

    # --- wishes ---------------------------------------------------------------------------

    def cancel(self, object_id: ObjectId, force: bool) -> bool:
        """Cancel a task; False if it has ended."""
        stored = self.objects.by_id.get(object_id)
        record = self.scheduler.tasks.get(object_id)
        if stored is None or stored.kind or record is None:
            return False
        running = self._progress.last_started(record.worker_id) == object_id
        self.feed(events.CancelRequested(object_id, force, running))
        return True

    def kill_actor(self, actor_id: ActorId) -> None:
        """End an actor now."""
        self._how_actors_died.setdefault(actor_id, ("it was ended by flame.kill()", ""))
        self.feed(events.ActorKilled(actor_id))

    def close(self) -> None:
        """End all processes and give all memory back."""
        self._closed = True
        idle = []
        for worker in self.workers.values():
            record = self.scheduler.workers.get(worker.id)
            if record is None or not record.assigned:
                idle.append(worker.id)
                self.send(worker, Stop())
        spawner, self._spawner = self._spawner, None
        if spawner is not None:
            self.poller.unregister(spawner.connection.fileno())
            spawner.end(idle)
            spawner.close(_GRACE_SECONDS)
        for worker in list(self.workers.values()):
            for pipe in (worker.output, worker.errors):
                while (text := _read(pipe)) is not None:
                    self._printed.append((pipe, text))
            worker.close()
        self.workers.clear()
        self.storage.close()
        self.room.close()
        self.segments.close()
        self.mappings.close()
        self._progress.close()
        self.poller.close()


def _read(pipe: OutputPipe) -> str | None:
    """Return what a dead worker has still printed; None when there is no more."""
    return pipe.pass_on() or None
