"""Decides which task runs where."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NoReturn

from flame_remote._environment import Environment
from flame_remote._ids import ActorId, TaskId, WorkerId
from flame_remote._spec import Demand

from .alarms import Alarms
from .clock import Clock
from .commands import (
    Command,
    Ending,
    InterruptTask,
    RecallTasks,
    ReportDeadlock,
)
from .events import (
    ActorExited,
    ActorKilled,
    ActorReleased,
    CancelRequested,
    Event,
    MemoryExceeded,
    TaskBlocked,
    TasksEnded,
    TasksReturned,
    TasksSubmitted,
    TaskUnblocked,
    Tick,
    WorkerHeard,
    WorkerLost,
)
from .fleet import Fleet
from .helping import Helping
from .losses import Losses
from .pace import Pace
from .placement import STALL_SECONDS, Placement
from .records import BlockedRequest, WorkerRecord
from .resources import ResourcePool
from .states import TaskState
from .tasks import Tasks
from .timing import Timing
from .waiting import WaitGraph


class Scheduler:
    """Decides which task runs where. One caller at a time; knows no clock, file or socket.

    One method for each event. What it changes belongs to its parts: the tasks and actors, the
    fleet of workers, the pool of resources. Then whatever can run now is handed out.
    """

    def __init__(self, resources: Mapping[str, float]) -> None:
        # Never rebound, so that the parts may keep it.
        self._commands: list[Command] = []
        decide = self._commands.append
        cpus = max(1, math.ceil(resources.get("CPU", 1.0)))
        self._clock = Clock()
        self._pace = Pace()
        self.pool = ResourcePool(resources)
        self.fleet = Fleet(cpus, self._clock, decide)
        alarms = self.alarms = Alarms(self._clock)
        self._tasks = Tasks(self.fleet, self._clock, alarms, decide)
        self._timing = Timing(self._tasks, self.fleet, alarms, self._pace, self._clock, decide)
        self._placement = Placement(
            self._tasks.ready,
            self.fleet,
            self.pool,
            self._pace,
            self._clock,
            self._timing.sent,
            decide,
        )
        self._losses = Losses(self._tasks, self.fleet, self._placement.leases, decide)
        # Tables, for reading.
        self.tasks = self._tasks.table
        self.workers = self.fleet.workers
        self.actors = self._tasks.actors
        self.maker_of = self._tasks.maker_of
        self._graph = WaitGraph(self.tasks, self._tasks.makers, self.workers, self.actors.table)
        self._helping = Helping(
            self.tasks,
            self._tasks.ready,
            self.fleet,
            self.pool,
            self._pace,
            self._graph,
            self._placement,
        )

    @property
    def next_tick(self) -> float | None:
        """When a Tick is due, on the clock of `handle`; None while none is needed."""
        return self._clock.next_tick

    def handle(self, now: float, event: Event) -> list[Command]:
        """Take in one event; return what must now be done, in order.

        `now` is seconds on any clock that never goes back.
        """
        self._clock.now = now
        self._commands.clear()
        match event:
            case TasksEnded():
                self._tasks_ended(event)
            case TasksSubmitted():
                self._tasks.add(event.records)
            case TasksReturned():
                self._tasks_returned(event.worker_id, event.task_ids)
            case TaskBlocked():
                self._task_blocked(event)
            case TaskUnblocked():
                self._task_unblocked(event)
            case CancelRequested():
                self._cancel(event)
            case ActorReleased():
                self.actors.released(event.actor_id)
            case ActorKilled():
                self._actor_killed(event)
            case ActorExited():
                self._tasks.give_up_actor(event.actor_id)
            case WorkerHeard():
                self.fleet.hear(event.worker_id)
            case WorkerLost():
                self._losses.worker_lost(event)
            case MemoryExceeded():
                self._losses.memory_exceeded(event)
            case Tick():
                self._tick()
            case _:
                _assert_never(event)
        self._hand_out()
        return self._commands.copy()

    def _hand_out(self) -> None:
        """Hand out ready tasks until there are none, or nobody can take one."""
        ready, fleet = self._tasks.ready, self.fleet
        if self.actors.stirred:
            self._send_calls()
        if fleet.blocked and len(ready):
            self._helping.help_directly()
        if len(self._tasks.creations):
            self._start_actors()
        while len(ready):
            record = ready.pop_best(self._placement.can_place)
            if record is None:
                self._placement.top_up()
                if fleet.blocked:
                    self._helping.help_from_behind()
                return
            self._placement.place(record)
        if len(fleet.idle) > fleet.cpus:
            fleet.stop_surplus()

    # --- tasks --------------------------------------------------------------------------

    def _tasks_ended(self, event: TasksEnded) -> None:
        worker = self.fleet.hear(event.worker_id)
        self._pace.learn(event.seconds)
        if worker is None:
            return
        worker.recalled = False
        self._tasks.finish(worker.assigned, event.endings)
        if event.again:
            self._tasks.try_again(worker.assigned, event.again)
        self._tasks_left(worker)

    def _tasks_returned(self, worker_id: WorkerId, task_ids: Sequence[TaskId]) -> None:
        worker = self.fleet.hear(worker_id)
        if worker is None:
            return
        # Last first, each to the front: they end up in the order in which they came.
        for task_id in reversed(task_ids):
            record = worker.assigned.pop(task_id, None)
            if record is not None:
                self._tasks.come_back(record)
        self._tasks_left(worker)

    def _tasks_left(self, worker: WorkerRecord) -> None:
        """Tasks of a worker ended or came back: it may hold too much, or have nothing to do."""
        if worker.blocked or len(worker.leases) > 1:
            worker.blocked = [b for b in worker.blocked if b.task_id in worker.assigned]
            self._waits_changed(worker)
        if not (worker.assigned or worker.actor_id):
            self._placement.leases.end(worker)
            if worker.is_used_up:
                self.fleet.stop(worker)
            elif not worker.doomed:
                self.fleet.rest(worker)

    def _cancel(self, event: CancelRequested) -> None:
        record = self.tasks.get(event.task_id)
        if record is None:
            return
        if record.state is not TaskState.ASSIGNED:
            self._tasks.end(record, Ending.CANCELLED)
            return
        record.cancelling = True
        worker = self.workers[record.worker_id]
        if worker.doomed:
            return  # what it has ends when it is lost
        if event.force and event.running and not record.spec.actor:
            self.fleet.kill(worker)
        else:
            self._commands.append(InterruptTask(worker.id, event.task_id))

    # --- tasks that wait for tasks ------------------------------------------------------

    def _task_blocked(self, event: TaskBlocked) -> None:
        self._tasks_returned(event.worker_id, event.returned)
        worker = self.workers.get(event.worker_id)
        record = worker.assigned.get(event.task_id) if worker is not None else None
        if worker is None or record is None or record.state is not TaskState.ASSIGNED:
            return  # lost, or ended with its actor
        record.started = True
        worker.recalled = False
        makers = self._tasks.makers
        awaited = event.object_ids
        if makers:
            awaited = [makers[i].spec.id if i in makers else i for i in awaited]
        request = BlockedRequest(event.request_id, event.task_id, awaited, event.patient)
        # A task waits for one request at a time; one before was interrupted.
        worker.blocked = [b for b in worker.blocked if b.task_id != event.task_id] + [request]
        self._waits_changed(worker)
        if event.patient and (cycle := self._graph.cycle_through(request)):
            self._commands.append(ReportDeadlock(worker.id, event.request_id, cycle))

    def _task_unblocked(self, event: TaskUnblocked) -> None:
        worker = self.workers.get(event.worker_id)
        if worker is not None:
            worker.blocked = [b for b in worker.blocked if b.request_id != event.request_id]
            self._waits_changed(worker)

    def _waits_changed(self, worker: WorkerRecord) -> None:
        self.fleet.note_waits(worker)
        self._placement.leases.settle(worker)

    # --- actors -------------------------------------------------------------------------

    def _actor_killed(self, event: ActorKilled) -> None:
        actor = self.actors.table.get(event.actor_id)
        if actor is None:
            return
        worker = self.workers.get(actor.worker_id)
        if worker is not None:
            self.fleet.kill(worker)
        if not event.may_restart:
            self._tasks.give_up_actor(event.actor_id)

    def _start_actors(self) -> None:
        """Start the actors whose resources are there."""
        if self.fleet.pauses:
            return
        while (record := self._tasks.creations.pop_best(self._fits)) is not None:
            worker = self._placement.place_actor(record)
            self.actors.starting(record.spec.id, worker.id)

    def _fits(self, demand: Demand, environment: Environment | None) -> bool:
        return self.pool.fits(demand)  # and any environment, as it gets a process of its own

    def _send_calls(self) -> None:
        """Send actors the calls that may go now; let those leave that nobody needs any more."""
        for actor_id in self.actors.take_stirred():
            may_send = not self._is_doomed(actor_id)
            worker_id, batch = self.actors.take_calls(actor_id, may_send=may_send)
            if batch:
                worker = self.workers[worker_id]
                self._placement.send(worker, batch, worker.leases[0])
            self.actors.note_began(actor_id, self._clock.now)
            if self.actors.may_leave(actor_id):
                self._tasks.end_actor(actor_id)

    def _is_doomed(self, actor_id: ActorId) -> bool:
        """Say whether an actor's process was told to end, though the actor may live on."""
        actor = self.actors.table.get(actor_id)
        worker = None if actor is None else self.workers.get(actor.worker_id)
        return worker is not None and worker.doomed

    # --- time ---------------------------------------------------------------------------

    def _tick(self) -> None:
        """Do what time asks for: end and resume tasks; have unstarted ones back from workers that
        hold some and have long said nothing."""
        clock = self._clock
        clock.next_tick = None
        self._timing.look()
        for worker in self.fleet.functions.values():
            if not worker.has_unstarted or worker.recalled or worker.doomed:
                continue
            if worker.heard and clock.now - worker.quiet_since >= STALL_SECONDS:
                worker.recalled = True
                self._commands.append(RecallTasks(worker.id))
            else:
                clock.wake_at(clock.now + STALL_SECONDS)
        self.fleet.remind()


def _assert_never(event: NoReturn) -> NoReturn:
    raise TypeError(f"not an event of the scheduler: {event!r}")
