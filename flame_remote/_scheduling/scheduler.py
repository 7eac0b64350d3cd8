"""Decides which task runs where."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Final

from flame_remote._ids import ActorId, TaskId, WorkerId
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
from .resources import Lease, ResourcePool, cpus_of
from .states import TASK_TRANSITIONS, TaskState, TaskStep, advance
from .waiting import WaitGraph, runs_anywhere

# A worker that holds unstarted tasks and says nothing for this long gives them back: one of the
# tasks ahead takes longer than such tasks used to.
STALL_SECONDS: Final = 0.010
# So many workers lost in a row before any of them reported: starting another at once is pointless.
START_ATTEMPTS: Final = 3
# While there are other workers, starting is tried again after this time.
START_PAUSE_SECONDS: Final = 1.0
# Tasks that ask for less than one CPU may run many at a time, but not without bound.
MAX_FRACTIONAL_WORKERS: Final = 64
# Tasks on top of each other in one worker while others can be started: recursion would else pile
# up in one process until Python's own limit.
MAX_HELP_DEPTH: Final = 8


class Scheduler:
    """Decides which task runs where. One caller at a time; knows no clock, file or socket.

    Worker ids are counted from 1 and never used again, so whatever comes late from a worker that
    was lost is recognised by its id.
    """

    def __init__(self, resources: Mapping[str, float]) -> None:
        self.tasks: dict[TaskId, TaskRecord] = {}
        self.workers: dict[WorkerId, WorkerRecord] = {}
        self.actors = Actors(self.tasks)
        self.next_tick: float | None = None  # when a Tick is due; None while none is needed
        self._pool = ResourcePool(resources)
        self._cpus = max(1, math.ceil(resources.get("CPU", 1.0)))
        self._queues = ReadyQueues()  # calls of functions
        self._creations = ReadyQueues()  # constructors of actors
        self._stirred: dict[
            ActorId, None
        ] = {}  # whose calls are looked at before the event is over
        self._pace = Pace()
        self._functions: dict[WorkerId, WorkerRecord] = {}  # workers that are no actor's
        self._idle: dict[WorkerId, WorkerRecord] = {}  # of those; most recently used last
        self._blocked: dict[WorkerId, WorkerRecord] = {}  # of those; a task waits for objects
        self._failed_starts = 0
        self._no_starts_until = 0.0
        self._worker_ids = itertools.count(1)
        self._graph = WaitGraph(self.tasks, self.workers, self.actors.table)
        self._commands: list[Command] = []
        self._now = 0.0

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
                self._hear(event.worker_id)
            case WorkerLost():
                self._worker_lost(event)
            case Tick():
                self._tick()
        self._dispatch()
        return commands

    # --- tasks come ---------------------------------------------------------------------

    def _tasks_submitted(self, records: Sequence[TaskRecord]) -> None:
        tasks = self.tasks
        orphans: list[TaskRecord] = []
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
            elif spec.actor and not self.actors.add_call(record):
                orphans.append(record)
            if not record.missing:
                self._make_ready(record)
        # Only now: a later one may depend on it, and must know it to end with it.
        for record in orphans:
            self._end(record, Ending.ACTOR_DIED, because=record.spec.actor)

    def _make_ready(self, record: TaskRecord) -> None:
        record.state = advance(TASK_TRANSITIONS, record.state, TaskStep.ARGUMENTS_ARRIVED)
        if record.spec.actor:
            self._stirred[record.spec.actor] = None
        else:
            self._queue_of(record).push(record)

    def _queue_of(self, record: TaskRecord) -> ReadyQueues:
        return self._queues if runs_anywhere(record) else self._creations

    # --- tasks end ----------------------------------------------------------------------

    def _tasks_ended(self, event: TasksEnded) -> None:
        worker = self._hear(event.worker_id)
        self._pace.learn(event.seconds)
        if worker is None:
            return
        worker.recalled = False
        tasks, assigned = self.tasks, worker.assigned
        for task_id, succeeded in event.endings:
            record = assigned.pop(task_id, None)
            if record is None or record.state is not TaskState.ASSIGNED:
                continue  # was given back, or ended meanwhile with its actor
            if record.cancelling:
                self._end(record, Ending.CANCELLED)
                continue
            step = TaskStep.RETURNED if succeeded else TaskStep.RAISED
            record.state = advance(TASK_TRANSITIONS, record.state, step)
            del tasks[task_id]
            if record.spec.target.kind is not TargetKind.FUNCTION:
                self._actor_task_ended(record, succeeded)
            if record.dependents is not None:
                self._settle_dependents(record, succeeded)
        self._tasks_left(worker)

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

    def _end(self, record: TaskRecord, ending: Ending, because: TaskId = 0) -> None:
        """End a task without a result of its own, and with it whatever needs its result."""
        unsettled = [(record, ending, because)]
        while unsettled:  # a loop: chains of dependents may be longer than Python's stack
            record, ending, because = unsettled.pop()
            spec = record.spec
            if spec.id not in self.tasks:
                continue  # it took part in two ways
            if record.cancelling:
                ending, because = Ending.CANCELLED, 0
            if record.state is TaskState.READY and not spec.actor:
                self._queue_of(record).discard(record)
            step = TaskStep.CANCELLED if ending is Ending.CANCELLED else TaskStep.RAISED
            record.state = advance(TASK_TRANSITIONS, record.state, step)
            del self.tasks[spec.id]
            self._commands.append(
                EndTask(spec.id, ending, because, record.worker_id, record.attempts)
            )
            if spec.actor:
                self._call_left(record)
            elif spec.target.kind is TargetKind.ACTOR:
                unsettled += [(call, Ending.ACTOR_DIED, spec.id) for call in self._bury(spec.id)]
            dependents, record.dependents = record.dependents or (), None
            unsettled += [
                (dependent, Ending.ARGUMENT_FAILED, spec.id)
                for dependent in dependents
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
        worker = self.workers[record.worker_id]
        if worker.doomed:
            return  # what it has ends when it is lost
        if event.force and event.running and not record.spec.actor:
            self._doom(worker, KillWorker(worker.id))
        else:
            self._commands.append(InterruptTask(worker.id, event.task_id))

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
        self._tasks_left(worker)

    def _come_back(self, record: TaskRecord) -> None:
        if record.cancelling:
            self._end(record, Ending.CANCELLED)
            return
        record.state = advance(TASK_TRANSITIONS, record.state, TaskStep.CAME_BACK)
        record.worker_id = 0
        record.lease = None
        record.started = False
        self._queue_of(record).push_front(record)

    # --- tasks wait for tasks -----------------------------------------------------------

    def _task_blocked(self, event: TaskBlocked) -> None:
        self._tasks_returned(event.worker_id, event.returned)
        worker = self.workers.get(event.worker_id)
        record = worker.assigned.get(event.task_id) if worker is not None else None
        if worker is None or record is None or record.state is not TaskState.ASSIGNED:
            return  # lost, or ended with its actor
        record.started = True
        worker.recalled = False
        request = BlockedRequest(event.request_id, event.task_id, event.object_ids, event.patient)
        # A task waits for one request at a time; one before was interrupted.
        worker.blocked = [b for b in worker.blocked if b.task_id != event.task_id] + [request]
        if not worker.actor_id:
            self._blocked[worker.id] = worker
        self._settle_leases(worker)
        if event.patient and (cycle := self._graph.cycle_through(request)):
            self._commands.append(ReportDeadlock(worker.id, event.request_id, cycle))

    def _task_unblocked(self, event: TaskUnblocked) -> None:
        worker = self.workers.get(event.worker_id)
        if worker is not None:
            worker.blocked = [b for b in worker.blocked if b.request_id != event.request_id]
            self._settle_leases(worker)

    def _tasks_left(self, worker: WorkerRecord) -> None:
        """Tasks of a worker ended or came back: it may hold too much, or have nothing to do."""
        if worker.blocked or len(worker.leases) > 1:
            worker.blocked = [b for b in worker.blocked if b.task_id in worker.assigned]
            self._settle_leases(worker)
        if not (worker.assigned or worker.actor_id):
            self._end_leases(worker)
            if not worker.doomed:
                self._idle[worker.id] = worker

    def _settle_leases(self, worker: WorkerRecord) -> None:
        """End the leases that nothing runs under; lend those of tasks that cannot go on."""
        if not worker.blocked:
            self._blocked.pop(worker.id, None)
        if len(worker.leases) > 1:
            used = {id(record.lease) for record in worker.assigned.values()}
            for lease in [lease for lease in worker.leases if id(lease) not in used]:
                self._pool.end(lease)
                worker.leases.remove(lease)
        suspended = self._suspended_leases(worker)
        for position, lease in enumerate(worker.leases):
            if position < suspended:
                self._pool.lend(lease)
            else:
                self._pool.take_back(lease)

    def _suspended_leases(self, worker: WorkerRecord) -> int:
        """Return under how many of a worker's leases, from the bottom, no task can go on."""
        if not worker.blocked:
            return 0
        if worker.actor_id:
            return int(len(worker.blocked) >= min(len(worker.assigned), worker.concurrency))
        innermost = worker.assigned[worker.blocked[-1].task_id].lease
        return 1 + next(n for n, lease in enumerate(worker.leases) if lease is innermost)

    def _end_leases(self, worker: WorkerRecord) -> None:
        for lease in worker.leases:
            self._pool.end(lease)
        worker.leases.clear()

    # --- blocked workers help -----------------------------------------------------------

    def _help(self) -> None:
        """Let blocked workers run themselves what they wait for, rather than start others."""
        for worker in list(self._blocked.values()):
            request = worker.blocked[-1]
            # An impatient one would be late: what it runs itself holds it up.
            if (
                request.patient
                and len(worker.blocked) <= MAX_HELP_DEPTH
                and worker.is_stuck
                and _can_carry(worker)
            ):
                first = self._awaited_ready_task(request)
                if first is not None and self._pool.fits(first.spec.target.demand):
                    self._send_help(worker, self._awaited_batch(request, first))

    def _help_from_behind(self) -> None:
        """Get on with what blocked tasks wait for, however indirectly, where nobody else can.

        Blocked tasks may fill all workers that may be started, and actors may hold all CPUs: then
        it runs on top of what waits for it, and on CPUs that were lent to actors.
        """
        stuck = [worker for worker in self._blocked.values() if worker.is_stuck]
        if not stuck:
            return
        standstill = len(stuck) == sum(bool(worker.assigned) for worker in self._functions.values())
        if not standstill and not any(map(self._pool.fits, self._queues.demands())):
            return
        # Lowest stack first, so that recursion spreads over the workers.
        stuck.sort(
            key=lambda worker: (
                _was_lost_once(worker),
                not _can_carry(worker),
                not worker.blocked[-1].patient,
                len(worker.blocked),
            )
        )
        for worker in stuck:
            for record in self._graph.ready_tasks_behind(worker.blocked[-1]):
                demand = record.spec.target.demand
                if self._pool.fits(demand) or (standstill and self._pool.fits_but_for_cpus(demand)):
                    self._queues.take(record)
                    if self._idle:
                        self._place(record)
                    elif self._may_have_own_worker(record, worker):
                        self._place(record).is_extra = True
                    else:
                        self._send_help(worker, [record])
                    standstill = False
                    break
            if not len(self._queues):
                return

    def _may_have_own_worker(self, record: TaskRecord, worker: WorkerRecord) -> bool:
        """Whether to start one process more than is usual, rather than risk what was lost before.

        Else tasks that may be retried without end could go on ending each other's process. There
        are never more of these than tasks that have lost a worker.
        """
        if self._now < self._no_starts_until or not (record.attempts or _was_lost_once(worker)):
            return False
        extra = sum(other.is_extra for other in self._functions.values())
        return extra < sum(map(_was_lost_once, self._functions.values())) + (record.attempts > 0)

    def _awaited_ready_task(self, request: BlockedRequest) -> TaskRecord | None:
        candidates = request.candidates
        while candidates:
            record = self.tasks.get(candidates[0])
            if record is not None and _can_be_carried(record):
                return record
            candidates.popleft()
        return None

    def _awaited_batch(self, request: BlockedRequest, first: TaskRecord) -> list[TaskRecord]:
        """Take out awaited tasks for one worker: its share, if they are known to be short."""
        target_id = first.spec.target.id
        window = self._pace.window(target_id)
        share = min(window, math.ceil(len(request.candidates) / self._cpus))
        batch: list[TaskRecord] = []
        while len(batch) < share and request.candidates:
            record = self.tasks.get(request.candidates.popleft())
            if (
                record is not None
                and record.spec.target.id == target_id
                and _can_be_carried(record)
            ):
                self._queues.take(record)
                batch.append(record)
        return batch

    def _send_help(self, worker: WorkerRecord, batch: Sequence[TaskRecord]) -> None:
        lease = self._pool.take(batch[0].spec.target.demand)
        worker.leases.append(lease)
        self._send(worker, batch, lease, helps=True)

    # --- actors -------------------------------------------------------------------------

    def _actor_task_ended(self, record: TaskRecord, succeeded: bool) -> None:
        if record.spec.actor:
            self._call_left(record)
        elif succeeded:
            self.actors.constructed(record.spec.id)
            self._stirred[record.spec.id] = None
        else:
            self._end_actor(record.spec.id)

    def _call_left(self, record: TaskRecord) -> None:
        self.actors.call_left(record)
        self._stirred[record.spec.actor] = None

    def _send_calls(self) -> None:
        """Send actors the calls that may go now; let those leave that nobody needs any more."""
        stirred, self._stirred = self._stirred, {}
        for actor_id in stirred:
            worker_id, batch = self.actors.take_calls(actor_id)
            if batch:
                worker = self.workers[worker_id]
                self._send(worker, batch, worker.leases[0])
            if self.actors.may_leave(actor_id):
                self._end_actor(actor_id)

    def _actor_released(self, actor_id: ActorId) -> None:
        self.actors.released(actor_id)
        self._stirred[actor_id] = None

    def _actor_killed(self, actor_id: ActorId) -> None:
        actor = self.actors.table.get(actor_id)
        if actor is None:
            return
        if actor.worker_id:
            self._doom(self.workers[actor.worker_id], KillWorker(actor.worker_id))
        self._end_actor(actor_id)

    def _end_actor(self, actor_id: ActorId) -> None:
        """The actor is dead: so are its calls, and its constructor if it has not returned."""
        for record in self._bury(actor_id):
            self._end(record, Ending.ACTOR_DIED, because=actor_id)

    def _bury(self, actor_id: ActorId) -> list[TaskRecord]:
        actor = self.actors.table.get(actor_id)
        if actor is None:
            return []  # buried already, with its constructor
        worker = self.workers.get(actor.worker_id)
        if worker is not None and not worker.doomed:
            self._doom(worker, StopWorker(worker.id))
        return self.actors.bury(actor_id)

    # --- workers ------------------------------------------------------------------------

    def _hear(self, worker_id: WorkerId) -> WorkerRecord | None:
        worker = self.workers.get(worker_id)
        if worker is not None:
            worker.quiet_since = self._now
            if not worker.heard:
                worker.heard = True
                self._failed_starts = 0
                self._no_starts_until = 0.0
        return worker

    def _doom(self, worker: WorkerRecord, command: StopWorker | KillWorker) -> None:
        """Tell a worker to end. It is sent nothing more; its resources are free when it is lost."""
        worker.doomed = True
        self._commands.append(command)

    def _worker_lost(self, event: WorkerLost) -> None:
        worker = self.workers.pop(event.worker_id, None)
        if worker is None:
            return
        for table in (self._functions, self._idle, self._blocked):
            table.pop(worker.id, None)
        self._end_leases(worker)
        self._recover_tasks(worker, event.last_started)
        if worker.actor_id in self.actors.table and worker.actor_id not in self.tasks:
            self._end_actor(worker.actor_id)
        if not (worker.heard or worker.doomed or event.last_started):
            self._start_failed()

    def _recover_tasks(self, worker: WorkerRecord, last_started: TaskId) -> None:
        """End or requeue what a lost worker had; last first, so that the order stays."""
        for record in reversed(worker.assigned.values()):
            if record.state is not TaskState.ASSIGNED or record.spec.actor:
                continue  # ended meanwhile, with its actor; or a call, which ends with its actor
            if record.started or record.spec.id == last_started:
                record.attempts += 1
            if record.attempts > record.spec.target.max_retries >= 0:
                self._end(record, Ending.CRASHED)
                continue
            if not record.cancelling and not runs_anywhere(record):
                self.actors.lost(record.spec.id)
            self._come_back(record)

    def _start_failed(self) -> None:
        self._failed_starts += 1
        if self._failed_starts < START_ATTEMPTS:
            return
        for record in list(self._creations):
            self._end(record, Ending.UNSTARTABLE)
        if self._functions:
            self._no_starts_until = self._now + START_PAUSE_SECONDS
            self._wake_at(self._no_starts_until)
            return
        for record in list(self._queues):
            self._end(record, Ending.UNSTARTABLE)
        self._failed_starts = 0

    def _start_worker(self, actor_id: ActorId, concurrency: int = 1) -> WorkerRecord:
        worker = WorkerRecord(next(self._worker_ids), actor_id, concurrency)
        self.workers[worker.id] = worker
        if not actor_id:
            self._functions[worker.id] = worker
        self._commands.append(StartWorker(worker.id, actor_id))
        return worker

    def _stop_surplus(self) -> None:
        while len(self._idle) > self._cpus:
            worker_id = next(iter(self._idle))
            del self._idle[worker_id], self._functions[worker_id], self.workers[worker_id]
            self._commands.append(StopWorker(worker_id))

    # --- who gets what ------------------------------------------------------------------

    def _dispatch(self) -> None:
        """Hand out ready tasks until there are none, or nobody can take one."""
        queues = self._queues
        if self._stirred:
            self._send_calls()
        if self._blocked and len(queues):
            self._help()
        if len(self._creations):
            self._start_actors()
        while len(queues):
            record = queues.pop_best(self._can_place)
            if record is None:
                self._top_up()
                if self._blocked:
                    self._help_from_behind()
                return
            self._place(record)
        if len(self._idle) > self._cpus:
            self._stop_surplus()

    def _can_place(self, demand: Demand) -> bool:
        return self._pool.fits(demand) and (bool(self._idle) or self._can_start_worker(demand))

    def _can_start_worker(self, demand: Demand) -> bool:
        """Bounded, so that tasks which wait for tasks cannot fill the machine with processes."""
        if self._now < self._no_starts_until:
            return False
        if len(self._functions) < 2 * self._cpus + 2:
            return True
        cpus = sum(units for _, units in cpus_of(demand))
        return cpus < Demand.UNIT and len(self._functions) < MAX_FRACTIONAL_WORKERS

    def _place(self, record: TaskRecord) -> WorkerRecord:
        takers = len(self._idle) + max(0, self._cpus - len(self._functions))
        if self._idle:
            _, worker = self._idle.popitem()
        else:
            worker = self._start_worker(0)
        lease = self._pool.take(record.spec.target.demand)
        worker.leases.append(lease)
        batch = [record]
        share = math.ceil(len(self._queues) / max(1, takers))
        more = min(self._pace.window(record.spec.target.id) - 1, share)
        if more > 0:
            batch += self._queues.pop_like(record, more)
        self._send(worker, batch, lease)
        return worker

    def _top_up(self) -> None:
        """Send more of the same to workers whose channel runs low, before they run dry."""
        for worker in self._functions.values():
            if not worker.assigned or worker.blocked or worker.doomed or worker.recalled:
                continue
            last = next(reversed(worker.assigned.values()))
            if self._queues.has_deeper_or_other(last):
                continue  # what waits elsewhere would starve behind an endless lease
            window = self._pace.window(last.spec.target.id)
            room = window - len(worker.assigned)
            if room > window // 2 and last.lease is not None:
                batch = self._queues.pop_like(last, min(room, self._fair_share()))
                if batch:
                    self._send(worker, batch, last.lease)

    def _fair_share(self) -> int:
        return max(1, math.ceil(len(self._queues) / self._cpus))

    def _start_actors(self) -> None:
        """Start the actors whose resources are there; each has a process of its own."""
        if self._now < self._no_starts_until:
            return
        while (record := self._creations.pop_best(self._pool.fits)) is not None:
            target = record.spec.target
            worker = self._start_worker(record.spec.id, target.max_concurrency)
            worker.leases.append(self._pool.take(target.demand))
            self.actors.starting(record.spec.id, worker.id)
            self._send(worker, [record], worker.leases[0])

    def _send(
        self,
        worker: WorkerRecord,
        batch: Sequence[TaskRecord],
        lease: Lease,
        *,
        helps: bool = False,
    ) -> None:
        assigned = worker.assigned
        if not assigned:
            worker.quiet_since = self._now
        for record in batch:
            record.worker_id = worker.id
            record.lease = lease
            assigned[record.spec.id] = record
        if worker.actor_id:
            if worker.blocked:
                self._settle_leases(worker)  # another call goes on while some are blocked
        elif len(assigned) > len(worker.blocked) + 1:
            self._wake_at(self._now + STALL_SECONDS)
        self._commands.append(SendTasks(worker.id, batch, helps))

    # --- time ---------------------------------------------------------------------------

    def _wake_at(self, time: float) -> None:
        if self.next_tick is None or time < self.next_tick:
            self.next_tick = time

    def _tick(self) -> None:
        self.next_tick = None
        for worker in self._functions.values():
            if len(worker.assigned) <= len(worker.blocked) + 1 or worker.recalled or worker.doomed:
                continue
            if worker.heard and self._now - worker.quiet_since >= STALL_SECONDS:
                worker.recalled = True
                self._commands.append(RecallTasks(worker.id))
            else:
                self._wake_at(self._now + STALL_SECONDS)
        if self._now < self._no_starts_until:
            self._wake_at(self._no_starts_until)


def _can_carry(worker: WorkerRecord) -> bool:
    """Say whether the tasks on a stack may have others run on top of them: should one of those
    end the process, they will be run again. Once only: the next time it would be their own end."""
    return not _was_lost_once(worker) and all(
        record.spec.target.max_retries != 0 for record in worker.assigned.values()
    )


def _was_lost_once(worker: WorkerRecord) -> bool:
    """Say whether any task of a worker was running before, when another worker was lost."""
    return any(record.attempts for record in worker.assigned.values())


def _can_be_carried(record: TaskRecord) -> bool:
    """Say whether a task may run on top of one that waits for it: none that has cost a worker."""
    return record.state is TaskState.READY and runs_anywhere(record) and record.attempts == 0
