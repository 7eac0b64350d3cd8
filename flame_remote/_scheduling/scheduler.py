"""Decides which task runs where."""

from __future__ import annotations

import itertools
import math
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Final

from flame_remote._ids import ActorId, TaskId, WorkerId, origin_of
from flame_remote._spec import Demand, TargetKind

from .actors import Actors
from .commands import (
    Command,
    Ending,
    EndTask,
    InterruptTask,
    KillWorker,
    RecallTasks,
    ReportDeadlock,
    SendTasks,
    StartWorker,
    StopWorker,
)
from .events import (
    ActorKilled,
    ActorReleased,
    CancelRequested,
    Event,
    TaskBlocked,
    TasksEnded,
    TasksReturned,
    TasksSubmitted,
    TaskUnblocked,
    Tick,
    WorkerHeard,
    WorkerLost,
)
from .pace import Pace
from .queues import ReadyQueues
from .records import BlockedRequest, TaskRecord, WorkerRecord
from .resources import ResourcePool, cpus_of
from .states import TASK_TRANSITIONS, TaskState, TaskStep, advance
from .waiting import WaitGraph, runs_anywhere

# A worker that holds unstarted tasks and says nothing for this long gives them back: one of the
# tasks ahead takes longer than such tasks used to.
STALL_SECONDS: Final = 0.010
# So many workers lost in a row before any of them reported: starting another is pointless.
START_ATTEMPTS: Final = 3
# Tasks that ask for less than one CPU may run many at a time, but not without bound.
MAX_FRACTIONAL_WORKERS: Final = 64
_ONE_CPU: Final = Demand.of({"CPU": 1})


class Scheduler:
    """Decides which task runs where. One caller at a time; knows no clock, file or socket.

    Worker ids are counted from 1 and never used again, so whatever comes late from a worker that
    was lost is recognised by its id.
    """

    def __init__(self, resources: Mapping[str, float]) -> None:
        self.tasks: dict[TaskId, TaskRecord] = {}
        self.workers: dict[WorkerId, WorkerRecord] = {}
        self.next_tick: float | None = None  # when a Tick is due; None while nothing can stall
        self._pool = ResourcePool(resources)
        self._cpus = max(1, math.ceil(resources.get("CPU", 1.0)))
        self._queues = ReadyQueues()
        self._pace = Pace()
        self._creations: deque[TaskRecord] = deque()  # READY constructors of actors
        self._idle: dict[WorkerId, WorkerRecord] = {}  # most recently used last
        self._function_workers = 0
        self._blocked_workers: dict[WorkerId, WorkerRecord] = {}
        self._failed_starts = 0
        self._worker_ids = itertools.count(1)
        self._commands: list[Command] = []
        self._now = 0.0
        self.actors = Actors(self.tasks)
        self._graph = WaitGraph(self.tasks, self.workers, self.actors.table)

    @property
    def saturated(self) -> bool:
        """Whether tasks wait for a worker, so that one more submission cannot start at once."""
        return len(self._queues) > 0

    def handle(self, now: float, event: Event) -> list[Command]:
        """Take in one event; return what must now be done, in order.

        `now` is seconds on any clock that never goes back.
        """
        self._now = now
        commands: list[Command] = []
        self._commands = commands
        match event:
            case TasksEnded():
                self._tasks_ended(event)
            case TasksSubmitted():
                self._tasks_submitted(event.records)
            case TasksReturned():
                self._tasks_returned(event.worker_id, event.task_ids)
            case TaskBlocked():
                self._task_blocked(event)
            case TaskUnblocked():
                self._task_unblocked(event)
            case CancelRequested():
                self._cancel(event)
            case ActorReleased():
                self._actor_released(event.actor_id)
            case ActorKilled():
                self._actor_killed(event.actor_id)
            case WorkerHeard():
                self._worker_heard(event.worker_id)
            case WorkerLost():
                self._worker_lost(event)
            case Tick():
                self._tick()
        self._dispatch()
        return commands

    # --- tasks come ---------------------------------------------------------------------

    def _tasks_submitted(self, records: Sequence[TaskRecord]) -> None:
        tasks = self.tasks
        for record in records:
            spec = record.spec
            tasks[spec.id] = record
            if spec.parent and (parent := tasks.get(spec.parent)) is not None:
                record.depth = parent.depth + 1
            for _, object_id in spec.dependencies:
                producer = tasks.get(object_id)
                if producer is not None:
                    record.missing += 1
                    if producer.dependents is None:
                        producer.dependents = []
                    producer.dependents.append(record)
            if spec.target.kind is TargetKind.ACTOR:
                self.actors.add(record)
            elif spec.actor:
                self._add_call(record)
                continue
            if not record.missing:
                self._make_ready(record)

    def _make_ready(self, record: TaskRecord) -> None:
        record.state = advance(TASK_TRANSITIONS, record.state, TaskStep.ARGUMENTS_ARRIVED)
        if record.spec.actor:
            self._pump_actor(record.spec.actor)
        elif runs_anywhere(record):
            self._queues.push(record)
        else:
            self._creations.append(record)

    def _add_call(self, record: TaskRecord) -> None:
        if not record.missing:
            record.state = advance(TASK_TRANSITIONS, record.state, TaskStep.ARGUMENTS_ARRIVED)
        actor = self.actors.table.get(record.spec.actor)
        if actor is None:
            self._end(record, Ending.ACTOR_DIED, because=record.spec.actor)
            return
        actor.queues.setdefault(origin_of(record.spec.id), deque()).append(record)
        self._pump_actor(actor.id)

    # --- tasks end ----------------------------------------------------------------------

    def _tasks_ended(self, event: TasksEnded) -> None:
        worker = self._hear(event.worker_id)
        self._pace.learn(event.seconds)
        if worker is None:
            return
        tasks, assigned = self.tasks, worker.assigned
        for task_id, succeeded in event.endings:
            record = assigned.pop(task_id, None)
            if record is None or record.state is not TaskState.ASSIGNED:
                continue  # never sent there, or ended meanwhile with its actor
            if record.cancelling:
                self._end(record, Ending.CANCELLED, worker_id=worker.id)
                continue
            step = TaskStep.RETURNED if succeeded else TaskStep.RAISED
            record.state = advance(TASK_TRANSITIONS, record.state, step)
            del tasks[task_id]
            if record.spec.target.kind is not TargetKind.FUNCTION:
                self._actor_task_ended(record, worker, succeeded)
            if record.dependents is not None:
                self._settle_dependents(record, succeeded)
        self._rest_if_idle(worker)

    def _settle_dependents(self, record: TaskRecord, succeeded: bool) -> None:
        dependents, record.dependents = record.dependents or (), None
        for dependent in dependents:
            if dependent.state is not TaskState.PENDING:
                continue  # cancelled, or failed by another argument, meanwhile
            if not succeeded:
                self._end(dependent, Ending.ARGUMENT_FAILED, because=record.spec.id)
                continue
            dependent.missing -= 1
            if not dependent.missing:
                self._make_ready(dependent)

    def _end(
        self, record: TaskRecord, ending: Ending, because: TaskId = 0, worker_id: WorkerId = 0
    ) -> None:
        """End a task without a result of its own, and with it whatever needs its result."""
        unsettled = [(record, ending, because)]
        while unsettled:  # a loop: chains of dependents may be longer than Python's stack
            record, ending, because = unsettled.pop()
            if record.spec.id not in self.tasks:
                continue
            if record.state is TaskState.READY and runs_anywhere(record):
                self._queues.discard()
            step = TaskStep.CANCELLED if ending is Ending.CANCELLED else TaskStep.RAISED
            record.state = advance(TASK_TRANSITIONS, record.state, step)
            del self.tasks[record.spec.id]
            self._commands.append(
                EndTask(record.spec.id, ending, because, worker_id, record.attempts)
            )
            if record.spec.target.kind is TargetKind.ACTOR:
                unsettled += self._bury_actor(record.spec.id)
            elif record.spec.actor:
                self.actors.forget_call(record)
                self._pump_actor(record.spec.actor)
            dependents, record.dependents = record.dependents or (), None
            because = record.spec.id
            unsettled += [
                (dependent, Ending.ARGUMENT_FAILED, because)
                for dependent in dict.fromkeys(dependents)
                if dependent.state is TaskState.PENDING
            ]

    def _cancel(self, event: CancelRequested) -> None:
        record = self.tasks.get(event.task_id)
        if record is None:
            return
        if record.state is not TaskState.ASSIGNED:
            self._end(record, Ending.CANCELLED)
            return
        record.cancelling = True
        if event.force and event.running and not record.spec.actor:
            self._commands.append(KillWorker(record.worker_id))
        else:
            self._commands.append(InterruptTask(record.worker_id, event.task_id))

    # --- tasks come back ----------------------------------------------------------------

    def _tasks_returned(self, worker_id: WorkerId, task_ids: Sequence[TaskId]) -> None:
        worker = self._hear(worker_id)
        if worker is None:
            return
        # Last first, each to the front: they end up in the order in which they came.
        for task_id in reversed(task_ids):
            record = worker.assigned.pop(task_id, None)
            if record is not None:
                self._come_back(record)
        self._rest_if_idle(worker)

    def _come_back(self, record: TaskRecord) -> None:
        if record.cancelling:
            self._end(record, Ending.CANCELLED, worker_id=record.worker_id)
            return
        record.state = advance(TASK_TRANSITIONS, record.state, TaskStep.CAME_BACK)
        record.worker_id = 0
        self._queues.push_front(record)

    # --- tasks wait for tasks -----------------------------------------------------------

    def _task_blocked(self, event: TaskBlocked) -> None:
        self._tasks_returned(event.worker_id, event.returned)
        worker = self.workers.get(event.worker_id)
        if worker is None:
            return
        request = BlockedRequest(event.request_id, event.task_id, event.object_ids, event.patient)
        worker.blocked.append(request)
        self._blocked_workers[worker.id] = worker
        if event.patient and (cycle := self._graph.cycle_through(request)):
            self._commands.append(ReportDeadlock(worker.id, event.request_id, cycle))

    def _task_unblocked(self, event: TaskUnblocked) -> None:
        worker = self.workers.get(event.worker_id)
        if worker is None:
            return
        worker.blocked = [b for b in worker.blocked if b.request_id != event.request_id]
        if not worker.blocked:
            self._blocked_workers.pop(worker.id, None)
        self._take_back_cpus(worker)

    def _help_or_lend(self, worker: WorkerRecord) -> None:
        """Give a blocked worker something that it waits for to run, or its CPUs to others."""
        if len(worker.assigned) > len(worker.blocked) or worker.lease is None:
            return  # it is running something on top of what is blocked
        if not worker.actor_id:
            record = self._awaited_ready_task(worker.blocked[-1])
            if record is not None and (not worker.lent or self._can_take_back(worker)):
                self._take_back_cpus(worker)
                self._assign_awaited(worker, record)
                return
        if not worker.lent:
            worker.lent = True
            self._pool.give_back(cpus_of(worker.lease))

    def _awaited_ready_task(self, request: BlockedRequest) -> TaskRecord | None:
        candidates = request.candidates
        while candidates:
            record = self.tasks.get(candidates[0])
            if record is not None and record.state is TaskState.READY and runs_anywhere(record):
                return record
            candidates.popleft()
        # Nothing that it waits for directly. While other workers can take what is ready, that
        # is enough; else look at what it waits for indirectly.
        if len(self._queues) and not self._idle and not self._can_start_worker(_ONE_CPU):
            return self._graph.ready_task_behind(request)
        return None

    def _assign_awaited(self, worker: WorkerRecord, first: TaskRecord) -> None:
        """Send a blocked worker awaited tasks: its share, if they are known to be short."""
        batch = [first]
        window = self._pace.window(first.spec.target.id)
        request = worker.blocked[-1]
        share = min(window, math.ceil(len(request.candidates) / self._cpus))
        while len(batch) < share and request.candidates:
            record = self.tasks.get(request.candidates.popleft())
            if (
                record is not None
                and record is not first
                and record.state is TaskState.READY
                and runs_anywhere(record)
                and record.spec.target.id == first.spec.target.id
            ):
                batch.append(record)
        for _ in batch:
            self._queues.discard()
        self._send(worker, batch, helps=True)

    def _can_take_back(self, worker: WorkerRecord) -> bool:
        if worker.lease is None or self._pool.fits(cpus_of(worker.lease)):
            return True
        return not any(  # nobody else makes progress: a full machine is no reason to stand still
            other.lease is not None and not other.lent
            for other in self.workers.values()
            if not other.actor_id
        )

    def _take_back_cpus(self, worker: WorkerRecord) -> None:
        if worker.lent:
            worker.lent = False
            if worker.lease is not None:
                self._pool.take(cpus_of(worker.lease))

    # --- actors -------------------------------------------------------------------------

    def _actor_task_ended(self, record: TaskRecord, worker: WorkerRecord, succeeded: bool) -> None:
        if record.spec.actor:
            self.actors.forget_call(record)
            self._pump_actor(record.spec.actor)
        elif succeeded:
            self.actors.constructed(record.spec.id)
            self._pump_actor(record.spec.id)
        else:
            self._commands.append(StopWorker(worker.id))
            self._end_calls(record.spec.id)

    def _pump_actor(self, actor_id: ActorId) -> None:
        worker_id, batch = self.actors.take_calls(actor_id)
        if batch:
            self._send(self.workers[worker_id], batch)
        self._let_leave(actor_id)

    def _let_leave(self, actor_id: ActorId) -> None:
        if self.actors.may_leave(actor_id):
            self._commands.append(StopWorker(self.actors.table[actor_id].worker_id))
            self._end_calls(actor_id)

    def _actor_released(self, actor_id: ActorId) -> None:
        self.actors.released(actor_id)
        self._let_leave(actor_id)

    def _actor_killed(self, actor_id: ActorId) -> None:
        actor = self.actors.table.get(actor_id)
        if actor is None:
            return
        if actor.worker_id:
            self._commands.append(KillWorker(actor.worker_id))
        if actor_id in self.tasks and not actor.worker_id:
            self._end(actor.creation, Ending.CANCELLED)
        else:
            self._end_calls(actor_id)

    def _end_calls(self, actor_id: ActorId) -> None:
        """The actor is dead: so are its calls, and its constructor if it has not returned."""
        for record, ending, because in self._bury_actor(actor_id):
            if record.spec.id in self.tasks:
                self._end(record, ending, because)

    def _bury_actor(self, actor_id: ActorId) -> list[tuple[TaskRecord, Ending, TaskId]]:
        return [(record, Ending.ACTOR_DIED, actor_id) for record in self.actors.bury(actor_id)]

    # --- workers ------------------------------------------------------------------------

    def _hear(self, worker_id: WorkerId) -> WorkerRecord | None:
        worker = self.workers.get(worker_id)
        if worker is not None:
            worker.last_heard = self._now
            worker.recalled = False
            if not worker.heard:
                self._worker_heard(worker_id)
        return worker

    def _worker_heard(self, worker_id: WorkerId) -> None:
        worker = self.workers.get(worker_id)
        if worker is not None:
            worker.heard = True
            self._failed_starts = 0

    def _rest_if_idle(self, worker: WorkerRecord) -> None:
        """A worker with nothing left to do gives its resources back; a surplus one ends."""
        if worker.assigned or worker.actor_id or worker.lease is None:
            return
        self._release_lease(worker)
        self._idle[worker.id] = worker

    def _release_lease(self, worker: WorkerRecord) -> None:
        if worker.lease is None:
            return
        if worker.lent:
            cpus = cpus_of(worker.lease)
            self._pool.take(cpus)
            worker.lent = False
        self._pool.give_back(worker.lease)
        worker.lease = None

    def _worker_lost(self, event: WorkerLost) -> None:
        worker = self.workers.pop(event.worker_id, None)
        if worker is None:
            return
        self._idle.pop(worker.id, None)
        self._blocked_workers.pop(worker.id, None)
        self._release_lease(worker)
        if not worker.actor_id:
            self._function_workers -= 1
        if not worker.heard:
            self._failed_starts += 1
        running = {request.task_id for request in worker.blocked} | {event.last_started}
        self._recover_tasks(worker, running)
        if self._failed_starts >= START_ATTEMPTS:
            self._give_up_starting()

    def _recover_tasks(self, worker: WorkerRecord, running: set[TaskId]) -> None:
        """End or requeue what a lost worker had; last first, so that the order stays."""
        assigned, worker.assigned = worker.assigned, {}
        for record in reversed(assigned.values()):
            if record.spec.id not in self.tasks:
                continue  # ended meanwhile, with its actor
            if record.spec.id in running:
                record.attempts += 1
            spent = record.attempts > record.spec.target.max_retries >= 0
            if record.cancelling:
                self._end(record, Ending.CANCELLED, worker_id=worker.id)
            elif record.spec.target.kind is TargetKind.FUNCTION and not spent:
                self._come_back(record)
            elif record.spec.actor:
                self._end(record, Ending.ACTOR_DIED, because=record.spec.actor)
            else:
                self._end(record, Ending.CRASHED, worker_id=worker.id)
        if worker.actor_id:
            self._end_calls(worker.actor_id)

    def _give_up_starting(self) -> None:
        self._failed_starts = 0
        for record in [*self._queues, *self._creations]:
            if record.state is TaskState.READY:
                self._end(record, Ending.UNSTARTABLE)

    # --- who gets what ------------------------------------------------------------------

    def _dispatch(self) -> None:
        """Hand out ready tasks until there are none, or nobody can take one."""
        for worker in list(self._blocked_workers.values()):
            self._help_or_lend(worker)
        self._start_actors()
        queues = self._queues
        while len(queues):
            record = queues.pop_best(self._can_place)
            if record is None:
                break
            self._place(record)
        if len(queues):
            self._top_up()
        elif len(self._idle) > self._cpus:
            self._stop_surplus()

    def _can_place(self, demand: Demand) -> bool:
        return self._pool.fits(demand) and (bool(self._idle) or self._can_start_worker(demand))

    def _can_start_worker(self, demand: Demand) -> bool:
        """Bounded, so that tasks which wait for tasks cannot fill the machine with processes."""
        if self._function_workers < 2 * self._cpus + 2:
            return True
        cpus = sum(units for name, units in demand if name == "CPU")
        return cpus < Demand.UNIT and self._function_workers < MAX_FRACTIONAL_WORKERS

    def _place(self, record: TaskRecord) -> None:
        idle = self._idle
        takers = len(idle) + max(0, self._cpus - self._function_workers)
        if idle:
            _, worker = idle.popitem()
        else:
            worker = self._start_worker(0)
        demand = record.spec.target.demand
        self._pool.take(demand)
        worker.lease = demand
        share = math.ceil(len(self._queues) / max(1, takers))
        window = min(self._pace.window(record.spec.target.id) - 1, share)
        batch = [record]
        if window > 0:
            batch += self._queues.pop_like(record, window)
        self._send(worker, batch)

    def _top_up(self) -> None:
        """Send more of the same to workers whose channel runs low, before they run dry."""
        for worker in self.workers.values():
            if worker.lease is None or worker.actor_id or worker.blocked or not worker.assigned:
                continue
            last = next(reversed(worker.assigned.values()))
            if self._queues.has_deeper_or_other(last):
                continue  # what waits elsewhere would starve behind an endless lease
            window = self._pace.window(last.spec.target.id)
            room = window - len(worker.assigned)
            if room > window // 2:
                batch = self._queues.pop_like(last, min(room, self._fair_share()))
                if batch:
                    self._send(worker, batch)

    def _fair_share(self) -> int:
        return max(1, math.ceil(len(self._queues) / self._cpus))

    def _start_worker(self, actor_id: ActorId) -> WorkerRecord:
        worker = WorkerRecord(next(self._worker_ids), actor_id)
        worker.last_heard = self._now
        self.workers[worker.id] = worker
        if not actor_id:
            self._function_workers += 1
        self._commands.append(StartWorker(worker.id, actor_id))
        return worker

    def _start_actors(self) -> None:
        """Start the actors whose resources are there; each has a process of its own."""
        for _ in range(len(self._creations)):
            record = self._creations.popleft()
            if record.state is not TaskState.READY:
                continue  # killed meanwhile
            demand = record.spec.target.demand
            if not self._pool.fits(demand):
                self._creations.append(record)
                continue
            worker = self._start_worker(record.spec.id)
            worker.lease = demand
            self._pool.take(demand)
            self.actors.starting(record.spec.id, worker.id)
            self._send(worker, [record])

    def _stop_surplus(self) -> None:
        while len(self._idle) > self._cpus:
            worker_id = next(iter(self._idle))
            del self._idle[worker_id], self.workers[worker_id]
            self._function_workers -= 1
            self._commands.append(StopWorker(worker_id))

    def _send(
        self, worker: WorkerRecord, batch: Sequence[TaskRecord], *, helps: bool = False
    ) -> None:
        assigned = worker.assigned
        for record in batch:
            record.state = advance(TASK_TRANSITIONS, record.state, TaskStep.SENT)
            record.worker_id = worker.id
            assigned[record.spec.id] = record
        if not worker.actor_id and len(assigned) > len(worker.blocked) + 1:
            self._watch_for_stall()
        self._commands.append(SendTasks(worker.id, batch, helps))

    # --- time ---------------------------------------------------------------------------

    def _watch_for_stall(self) -> None:
        if self.next_tick is None:
            self.next_tick = self._now + STALL_SECONDS

    def _tick(self) -> None:
        self.next_tick = None
        for worker in self.workers.values():
            if worker.actor_id or len(worker.assigned) < 2 or worker.recalled:
                continue
            if self._now - worker.last_heard >= STALL_SECONDS:
                worker.recalled = True
                self._commands.append(RecallTasks(worker.id))
            else:
                self._watch_for_stall()
