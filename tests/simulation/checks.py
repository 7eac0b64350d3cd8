"""What must hold at every moment of a simulated run, and at its end."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from flame_remote._scheduling import commands, events
from flame_remote._scheduling.fleet import MAX_FRACTIONAL_WORKERS, START_ATTEMPTS
from flame_remote._scheduling.states import TaskState
from flame_remote._spec import Demand

from .tables import Tables
from .tasks import Failure, Outcome, SimActor, SimRequest, SimTask
from .worker import SimWorker

if TYPE_CHECKING:
    from .world import World

EVENTS_PER_INSPECTION: Final = 97  # of the scheduler's tables, which takes long
_KINDS: Final = {
    commands.Ending.CANCELLED: "cancelled",
    commands.Ending.CRASHED: "crashed",
    commands.Ending.ACTOR_DIED: "actor died",
    commands.Ending.ACTOR_RESTARTS: "actor restarts",
    commands.Ending.UNSTARTABLE: "unstartable",
    commands.Ending.DEADLINE: "deadline",
    commands.Ending.TIMED_OUT: "timed out",
    commands.Ending.OUT_OF_MEMORY: "out of memory",
}
_ENDED: Final = (TaskState.SUCCEEDED, TaskState.FAILED, TaskState.CANCELLED)


class Checks:
    """Looks at what the scheduler is told and says, and now and then into its tables."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._scheduler = world.scheduler
        self._pool = world.scheduler.pool
        self._event: events.Event
        self._decided: Sequence[commands.Command] = ()
        cpus = max(1, int(world.settings.resources["CPU"]))
        self._worker_limit = 2 * cpus + 2
        self.tables = Tables(world)

    # --- each event -----------------------------------------------------------------------

    def decided(self, event: events.Event, decided: Sequence[commands.Command]) -> None:
        """The scheduler has answered; nothing of it has been done yet."""
        self._event = event
        self._decided = decided
        if type(event) is events.TaskBlocked and event.patient:
            self._deadlock_is_reported_if_real(event, decided)

    def _deadlock_is_reported_if_real(
        self, event: events.TaskBlocked, decided: Sequence[commands.Command]
    ) -> None:
        from .deadlocks import waits_for_itself

        task = self._world.tasks[event.task_id]
        if task.outcome is not None or task.holder is None:
            return  # it has ended, with its actor
        if task.record.cancelling:
            return  # it may have stopped waiting before this was heard
        reported = [c for c in decided if type(c) is commands.ReportDeadlock]
        assert not reported or self._world.settings.cycles, f"nothing can wait for itself: {event}"
        real = waits_for_itself(self._world, task)
        assert bool(reported) == real, f"{event}: {reported}, but that it is one is {real}"
        for report in reported:
            assert report.request_id == event.request_id
            assert report.cycle[0] == task.spec.target.name

    def done(self) -> None:
        """What the scheduler wanted has been done."""
        event, decided = self._event, self._decided
        if type(event) is events.TasksEnded:
            for task_id, _ in event.endings:
                assert self._world.tasks[task_id].record.state in _ENDED
        if len(decided):
            self._placements_fit(decided)
        if self._world.events % EVENTS_PER_INSPECTION == 0:
            self.tables.inspect()

    def _placements_fit(self, decided: Sequence[commands.Command]) -> None:
        """Nothing new was placed on resources that are not there, but at a standstill."""
        available = self._pool.available
        if min(available.values()) >= 0:
            return
        sends = [command for command in decided if type(command) is commands.SendTasks]
        served = {command.worker_id for command in sends}
        if not any(
            worker.assigned and not worker.is_stuck and worker.id not in served
            for worker in self._scheduler.fleet.functions.values()
        ):
            return
        for command in sends:
            worker = self._scheduler.workers[command.worker_id]
            if command.helps or len(worker.assigned) == len(command.records):  # a new lease
                for name, _ in command.records[0].spec.target.demand:
                    assert available[name] >= 0, f"{name} is overdrawn by {command}"

    # --- commands ---------------------------------------------------------------------------

    def worker_starts(self, worker: SimWorker) -> None:
        """Processes stay few."""
        assert worker.id not in self._world.workers
        assert self._world.now >= self._world.no_starts_until, "starting fails, it has to wait"
        if worker.actor is not None:
            assert worker.actor.id == worker.actor.creation.id
            return
        others = sum(
            not (other.lost or other.ending or other.actor)
            for other in self._world.present.values()
        )
        first = next(
            command.records[0]
            for command in self._decided
            if type(command) is commands.SendTasks and command.worker_id == worker.id
        )
        if not _is_whole(first.spec.target.demand):
            limit = MAX_FRACTIONAL_WORKERS
        else:
            limit = self._worker_limit
        if others >= limit and (self._has_room(worker) or self._stands_still_without(worker)):
            return
        if others >= limit:
            # For each task that has lost a worker there may be one more, to spare the others.
            assert any(record.attempts for record in self._scheduler.tasks.values())
            if not all(_is_whole(target.demand) for target in self._world.targets):
                limit = MAX_FRACTIONAL_WORKERS
            tasks = self._world.tasks.values()
            limit += sum(task.lost_running + task.lost_unreported for task in tasks)
        assert others < limit, f"{others} workers already"

    def _has_room(self, worker: SimWorker) -> bool:
        """Say whether one that was idle has gone for it."""
        pairs = itertools.pairwise(self._decided)
        return any(
            type(first) is commands.StopWorker
            and type(then) is commands.StartWorker
            and then.worker_id == worker.id
            for first, then in pairs
        )

    def _stands_still_without(self, worker: SimWorker) -> bool:
        """Say whether what waits must not run in any of those that wait for it."""
        functions = self._scheduler.fleet.functions.values()
        stuck = [other for other in functions if other.assigned and other.id != worker.id]
        record = next(iter(self._scheduler.workers[worker.id].assigned.values()))
        return all(other.is_stuck for other in stuck) and not any(
            other.may_also_run(record.spec.target)
            and record in self._scheduler._graph.ready_tasks_behind(other.blocked[-1])
            for other in stuck
        )

    def reachable(self, worker_id: int) -> SimWorker:
        """Nothing is sent to a worker that was lost or told to end."""
        worker = self._world.workers[worker_id]
        assert not worker.lost
        assert not worker.ending
        return worker

    def task_is_sent(self, task: SimTask, worker: SimWorker) -> None:
        """A task is sent to one worker, once its arguments are there, calls in their order."""
        assert task.outcome is None
        assert task.holder is None, f"{task.id} is in two places"
        assert not task.cancelled
        assert all(isinstance(argument.outcome, int) for argument in task.arguments)
        actor = task.actor
        assert worker.actor is actor
        target = task.spec.target if actor is None else actor.creation.spec.target
        assert worker.environment == target.environment
        assert len(worker.devices) == -(-target.demand.gpu_units // Demand.UNIT)
        assert task.record.lease is not None
        assert task.record.lease.devices == worker.devices
        if actor is None:
            return
        if not task.spec.actor:
            if actor.end == "lost":
                actor.end = "" if actor.handles else "released"
            assert actor.end in ("", "released")
            return
        assert task.order > actor.last_sent.get(task.caller, 0)
        actor.last_sent[task.caller] = task.order
        assert isinstance(actor.creation.outcome, int)

    def helped_request(self, worker: SimWorker) -> SimRequest:
        """Help is sent to workers of functions that are known to be blocked."""
        assert worker.actor is None
        request = next(r for r in reversed(worker.requests.values()) if r.blocks)
        assert not request.over
        return request

    def failure_of(self, task: SimTask, command: commands.EndTask) -> Failure:
        """A task that ends without a result has a reason for that.

        A worker keeps what it has until it gives it back or is lost: it may be using it.
        """
        holder = task.holder
        assert holder is None or holder.id == getattr(self._event, "worker_id", 0)
        because = self._world.tasks.get(command.because)
        if command.ending is commands.Ending.ARGUMENT_FAILED:
            assert because is not None
            assert isinstance(because.outcome, Failure)
            assert because in task.arguments
            return because.outcome
        if command.ending is commands.Ending.ACTOR_DIED:
            assert task.actor is not None
            assert task.actor.end not in ("", "released")
            assert command.because == task.actor.id
            assert task.actor.end != "lost" or not task.actor.has_restarts_left
        elif command.ending is commands.Ending.ACTOR_RESTARTS:
            assert task.actor is not None
            assert task.actor.restarts > 0
            most = task.actor.retries_of(task)
            assert command.attempts > most >= 0
            if (
                task.actor.creation.template.max_concurrency == 1
            ):  # else nobody knows what had begun
                assert task.lost_running + task.lost_unreported > most
        elif command.ending is commands.Ending.CANCELLED:
            assert task.cancelled
        elif command.ending is commands.Ending.DEADLINE:
            assert self._world.now >= task.due
        elif command.ending is commands.Ending.TIMED_OUT:
            limit = task.template.timeout
            assert 0 < limit <= self._world.now - task.sent_at + 1e-9  # of rounding
        elif command.ending is commands.Ending.OUT_OF_MEMORY:
            assert task.swollen
        elif command.ending is commands.Ending.UNSTARTABLE:
            assert self._world.failed_starts >= START_ATTEMPTS
        else:
            most = task.spec.target.max_retries
            assert most >= 0
            assert task.lost_running + task.lost_unreported > most
            assert most < command.attempts <= task.starts
            assert task.actor is None or not task.actor.has_restarts_left
        return Failure(_KINDS[command.ending], task.id)

    def task_ends(self, task: SimTask, outcome: Outcome) -> None:
        """A task ends once; one that was cancelled does not succeed."""
        assert task.outcome is None, f"{task.id} ends twice: {task.outcome}, {outcome}"
        if task.cancelled:
            assert isinstance(outcome, Failure)
        assert isinstance(outcome, Failure) or self._world.now <= task.due

    def actor_restarts(self, actor: SimActor) -> None:
        """An actor is restarted after its worker was lost, and no more often than it may be."""
        assert type(self._event) is events.WorkerLost
        assert actor.end == "lost"
        assert actor.has_restarts_left

    def actor_ends(self, actor: SimActor) -> None:
        """An actor is dead for a reason."""
        assert actor.id not in self._scheduler.actors.table
        assert actor.end != "lost" or not actor.has_restarts_left or actor.creation.cancelled

    # --- what workers do --------------------------------------------------------------------

    def task_starts(self, worker: SimWorker, task: SimTask) -> None:
        """User code of a task begins to run."""
        target = task.spec.target
        assert not task.swollen, "it would only do that again"
        if worker.actor is None and worker.stack:  # it runs on top of others
            assert not target.needs_process_alone
            below = [frame.task for frame in worker.stack if frame.task is not None]
            assert not any(other.spec.target.needs_process_alone for other in below)
        if task.spec.actor:
            actor = task.actor
            assert actor is not None
            lost = task.lost_running + task.lost_unreported
            assert task.starts <= 1 + lost
            assert lost <= actor.retries_of(task) or actor.retries_of(task) < 0
            assert task.order > actor.last_started.get(task.caller, 0)
            actor.last_started[task.caller] = task.order
            return
        restarts = 0 if task.actor is None else task.actor.restarts
        if target.max_retries >= 0:
            assert task.lost_running < (target.max_retries + 1) * (restarts + 1)
            is_once = target.max_retries == restarts == 0
            assert not is_once or task.starts == 1 + task.failed_attempts
        lost = task.lost_running + task.lost_unreported
        assert task.starts <= 1 + lost + task.failed_attempts + restarts
        assert self._world.now >= task.rests_until
        self.task_resumes(worker, task)

    def task_resumes(self, worker: SimWorker, task: SimTask) -> None:
        """A task runs on resources that its worker holds for it."""
        record = task.record
        if worker.lost or task.outcome is not None or worker.ending or worker.beside:
            return
        if any(request.frame.request is not request for request in worker.requests.values()):
            return  # somebody has stopped waiting, and the driver has not heard of that yet
        leases = self._scheduler.workers[worker.id].leases
        assert record.lease in leases
        assert record.lease is not None
        assert not record.lease.lent


def _is_whole(demand: Demand) -> bool:
    return dict(demand).get("CPU", 0) >= Demand.UNIT
