"""Bugs to plant in the scheduler, each of which the simulation must find. Most were real once."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from flame_remote._ids import origin_of
from flame_remote._scheduling import leases, waiting
from flame_remote._scheduling.actors import Actors
from flame_remote._scheduling.alarms import What
from flame_remote._scheduling.fleet import Fleet
from flame_remote._scheduling.helping import Helping
from flame_remote._scheduling.losses import Losses
from flame_remote._scheduling.placement import Placement
from flame_remote._scheduling.queues import ReadyQueues
from flame_remote._scheduling.records import WorkerRecord
from flame_remote._scheduling.resources import ResourcePool
from flame_remote._scheduling.scheduler import Scheduler
from flame_remote._scheduling.states import TASK_TRANSITIONS, TaskState, TaskStep, advance
from flame_remote._scheduling.tasks import Tasks
from flame_remote._scheduling.timing import Timing
from flame_remote._scheduling.waiting import WaitGraph
from flame_remote._spec import TargetKind


@dataclass(frozen=True)
class Bug:
    """One change. `replacement` is called in the place of a function, and given that first."""

    owner: Any
    attribute: str
    replacement: Callable[..., Any]

    @property
    def name(self) -> str:
        """Say what is wrong, as a sentence."""
        return self.replacement.__name__

    def wrong(self) -> Callable[..., Any]:
        """Return what to put in the place of the function."""
        original, replacement = getattr(self.owner, self.attribute), self.replacement
        return lambda *args, **kwargs: replacement(original, *args, **kwargs)


BUGS: Final[list[Bug]] = []


def instead_of(owner: Any, attribute: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Say what a bug replaces."""

    def add(replacement: Callable[..., Any]) -> Callable[..., Any]:
        BUGS.append(Bug(owner, attribute, replacement))
        return replacement

    return add


# --- arguments ------------------------------------------------------------------------------


@instead_of(Tasks, "add")
def forgets_an_argument_now_and_then(original: Any, self: Any, records: Any) -> None:
    for record in records:
        if record.spec.id % 50 == 0:
            record.spec.dependencies = ()
    original(self, records)


@instead_of(Tasks, "_settle_dependents")
def runs_what_depends_on_a_failed_task(
    original: Any, self: Any, record: Any, succeeded: bool
) -> None:
    original(self, record, True)


@instead_of(Tasks, "end")
def lets_dependents_of_a_cancelled_task_wait(
    original: Any, self: Any, record: Any, ending: Any, because: int = 0
) -> None:
    record.dependents = None
    original(self, record, ending, because)


@instead_of(Tasks, "add")
def ends_calls_of_dead_actors_too_early(original: Any, self: Any, records: Any) -> None:
    for record in records:
        original(self, [record])


# --- what comes back ------------------------------------------------------------------------


@instead_of(Losses, "_recover_tasks")
def retries_once_too_often(original: Any, self: Any, worker: Any, last_started: int) -> None:
    for record in worker.assigned.values():
        if record.attempts == record.spec.target.max_retries > 0:
            record.attempts -= 1
    original(self, worker, last_started)


@instead_of(Losses, "_recover_tasks")
def runs_what_must_not_be_retried_again(
    original: Any, self: Any, worker: Any, last_started: int
) -> None:
    for record in worker.assigned.values():
        record.started = False
    original(self, worker, 0)


@instead_of(Losses, "_recover_tasks")
def counts_unstarted_tasks_as_attempts(
    original: Any, self: Any, worker: Any, last_started: int
) -> None:
    for record in worker.assigned.values():
        record.started = True
    original(self, worker, last_started)


@instead_of(Losses, "_recover_tasks")
def loses_what_a_worker_had_not_started(
    original: Any, self: Any, worker: Any, last_started: int
) -> None:
    for record in list(worker.assigned.values())[3:]:
        del worker.assigned[record.spec.id]
    original(self, worker, last_started)


@instead_of(Tasks, "come_back")
def constructs_actors_once_too_often(original: Any, self: Any, record: Any) -> None:
    original(self, record)
    if record.spec.target.kind is TargetKind.ACTOR:
        record.attempts = 0


@instead_of(Scheduler, "_tasks_returned")
def loses_what_a_blocked_worker_gives_back(
    original: Any, self: Any, worker_id: int, task_ids: Any
) -> None:
    original(self, worker_id, task_ids[:3])


@instead_of(ReadyQueues, "_pop")
def sends_a_task_twice_that_came_back(
    original: Any, self: Any, queue: Any, count: int, target_id: int
) -> Any:
    popped: list[Any] = []
    while queue.records and len(popped) < count:
        record = queue.records[0]
        if record.state is TaskState.READY:
            if target_id and record.spec.target.id != target_id:
                break
            popped.append(record)
        queue.records.popleft()
    for record in popped:
        record.state = advance(TASK_TRANSITIONS, record.state, TaskStep.SENT)
    self._count_out(queue, len(popped))
    return popped


# --- cancelling -----------------------------------------------------------------------------


@instead_of(Tasks, "finish")
def lets_cancelled_tasks_succeed(original: Any, self: Any, assigned: Any, endings: Any) -> None:
    for record in assigned.values():
        record.cancelling = False
    original(self, assigned, endings)


@instead_of(Tasks, "come_back")
def runs_cancelled_tasks_again(original: Any, self: Any, record: Any) -> None:
    record.cancelling = False
    original(self, record)


@instead_of(Scheduler, "_cancel")
def does_not_cancel_what_waits(original: Any, self: Any, event: Any) -> None:
    record = self.tasks.get(event.task_id)
    if record is not None and record.state is TaskState.READY and record.depth == 0:
        record.cancelling = True
        return
    original(self, event)


# --- workers --------------------------------------------------------------------------------


@instead_of(Fleet, "kill")
def kills_workers_twice(original: Any, self: Any, worker: Any) -> None:
    worker.doomed = False
    original(self, worker)


@instead_of(Fleet, "kill")
def sends_to_workers_that_it_has_killed(original: Any, self: Any, worker: Any) -> None:
    original(self, worker)
    worker.doomed = False


@instead_of(Fleet, "lose")
def keeps_lost_workers_idle(original: Any, self: Any, worker_id: int) -> Any:
    idle = self.idle.get(worker_id)
    worker = original(self, worker_id)
    if idle is not None:
        self.idle[worker_id] = self.workers[worker_id] = self.functions[worker_id] = idle
    return worker


@instead_of(Fleet, "may_start")
def starts_processes_without_bound(original: Any, self: Any, demand: Any) -> bool:
    return True


@instead_of(Fleet, "start_failed")
def never_gives_up_starting(original: Any, self: Any) -> bool:
    return False


@instead_of(Fleet, "start_failed")
def gives_up_starting_at_once(original: Any, self: Any) -> bool:
    return True


@instead_of(Fleet, "lose")
def takes_killed_workers_for_failed_starts(original: Any, self: Any, worker_id: int) -> Any:
    worker = original(self, worker_id)
    if worker is not None:
        worker.doomed = False
    return worker


@instead_of(Fleet, "stop_surplus")
def keeps_idle_workers_for_ever(original: Any, self: Any) -> None:
    pass


# --- resources ------------------------------------------------------------------------------


@instead_of(ResourcePool, "end")
def leaks_lent_cpus(original: Any, self: Any, lease: Any) -> None:
    lease.lent = False
    original(self, lease)


@instead_of(leases, "_suspended")
def takes_cpus_back_for_tasks_beneath_blocked_ones(original: Any, worker: Any) -> Any:
    if not worker.actor_id and worker.blocked and len(worker.blocked) < len(worker.leases):
        return 0
    return original(worker)


@instead_of(leases, "_suspended")
def lends_no_cpus_of_actors_with_queued_calls(original: Any, worker: Any) -> Any:
    if worker.actor_id:
        return int(len(worker.blocked) >= len(worker.assigned) > 0)
    return original(worker)


@instead_of(leases, "_suspended")
def never_lends_cpus(original: Any, worker: Any) -> Any:
    return 0


@instead_of(ResourcePool, "fits")
def forgets_other_resources_than_cpus(original: Any, self: Any, demand: Any) -> Any:
    return all(self.available.get(name, 0) >= units for name, units in demand if name != "R")


@instead_of(Helping, "help_directly")
def helps_without_regard_to_resources(original: Any, self: Any) -> None:
    fits, self._pool.fits = self._pool.fits, lambda demand: True
    original(self)
    self._pool.fits = fits


# --- waiting --------------------------------------------------------------------------------


@instead_of(Helping, "help_from_behind")
def helps_nobody_at_a_standstill(original: Any, self: Any) -> None:
    pass


@instead_of(Placement, "send")
def helps_one_that_is_not_blocked(
    original: Any, self: Any, worker: Any, batch: Any, lease: Any, *, helps: bool = False
) -> None:
    original(self, worker, batch, lease, helps=helps or len(batch) > 3)


@instead_of(Scheduler, "_task_unblocked")
def takes_unblocked_tasks_for_blocked(original: Any, self: Any, event: Any) -> None:
    pass


@instead_of(WaitGraph, "cycle_through")
def overlooks_deadlocks_through_arguments(original: Any, self: Any, request: Any) -> Any:
    here = {i: r for i, r in self._tasks.items() if r.state is not TaskState.PENDING}
    return original(WaitGraph(here, self._makers, self._workers, self._actors), request)


@instead_of(waiting, "_on_top_of")
def overlooks_deadlocks_in_one_process(original: Any, record: Any, worker: Any) -> Any:
    return iter(())


@instead_of(waiting._Walk, "_goes_before")
def overlooks_deadlocks_of_calls_in_a_queue(
    original: Any, self: Any, record: Any, actor: Any
) -> Any:
    return original(self, record, actor) if record.state is TaskState.ASSIGNED else iter(())


@instead_of(WaitGraph, "cycle_through")
def reports_deadlocks_of_those_who_will_give_up(original: Any, self: Any, request: Any) -> Any:
    for worker in self._workers.values():
        for blocked in worker.blocked:
            blocked.patient = True
    return original(self, request)


@instead_of(WaitGraph, "cycle_through")
def reports_deadlocks_of_those_who_will_be_killed(original: Any, self: Any, request: Any) -> Any:
    doomed = [worker for worker in self._workers.values() if worker.doomed]
    for worker in doomed:
        worker.doomed = False
    cycle = original(self, request)
    for worker in doomed:
        worker.doomed = True
    return cycle


# --- actors ---------------------------------------------------------------------------------


@instead_of(Tasks, "end_actor")
def leaves_calls_of_dead_actors(original: Any, self: Any, actor_id: int) -> None:
    actor = self.actors.table.get(actor_id)
    if actor is not None:
        actor.in_flight.clear()
    original(self, actor_id)


@instead_of(Actors, "may_leave")
def stops_actors_with_calls_in_flight(original: Any, self: Any, actor_id: int) -> bool:
    actor = self.table.get(actor_id)
    return actor is not None and actor.released and actor.worker_id and not actor.queues


@instead_of(Actors, "released")
def keeps_actors_that_nobody_needs(original: Any, self: Any, actor_id: int) -> None:
    pass


@instead_of(Actors, "take_calls")
def sends_calls_past_late_ones(
    original: Any, self: Any, actor_id: int, *, may_send: bool = True
) -> Any:
    actor = self.table.get(actor_id)
    for queue in actor.queues.values() if actor is not None else ():
        if len(queue) > 1 and queue[0].state is TaskState.PENDING:
            queue.rotate(-1)
    return original(self, actor_id, may_send=may_send)


@instead_of(Actors, "_caller_of")
def orders_calls_of_tasks_in_one_process(original: Any, self: Any, spec: Any) -> int:
    return -origin_of(spec.id)


@instead_of(Actors, "call_left")
def forgets_to_send_the_calls_behind_one(original: Any, self: Any, record: Any) -> None:
    original(self, record)
    self.stirred.pop(record.spec.actor, None)


@instead_of(Actors, "take_restart")
def restarts_actors_once_too_often(original: Any, self: Any, actor_id: int) -> bool:
    actor = self.table[actor_id]
    if actor.restarts == actor.creation.spec.target.restarts.max_restarts > 0:
        actor.restarts -= 1
    return bool(original(self, actor_id))


@instead_of(Actors, "take_restart")
def never_restarts_actors(original: Any, self: Any, actor_id: int) -> bool:
    return False


@instead_of(Actors, "put_back")
def turns_the_order_of_calls_around_in_a_restart(original: Any, self: Any, records: Any) -> None:
    original(self, list(reversed(list(records))))


@instead_of(Actors, "put_back")
def puts_calls_that_were_sent_in_vain_behind_others(original: Any, self: Any, records: Any) -> None:
    for record in records:
        self.table[record.spec.actor].queues.setdefault(record.caller, deque()).append(record)


@instead_of(Actors, "unsend_calls")
def runs_calls_again_that_had_begun(
    original: Any, self: Any, actor_id: int, last_started: int
) -> Any:
    begun, others = original(self, actor_id, last_started)
    return [], [*begun, *others]


@instead_of(Actors, "unsend_calls")
def gives_up_calls_that_had_not_begun(
    original: Any, self: Any, actor_id: int, last_started: int
) -> Any:
    begun, others = original(self, actor_id, last_started)
    return [*begun, *others], []


@instead_of(Scheduler, "_is_doomed")
def sends_calls_to_actors_whose_process_it_has_killed(
    original: Any, self: Any, actor_id: int
) -> bool:
    return False


# --- time ---------------------------------------------------------------------------------------


@instead_of(Tasks, "try_again")
def forgets_the_pause_between_two_attempts(
    original: Any, self: Any, assigned: Any, failed: Any
) -> None:
    original(self, assigned, [(task_id, 0.0, failure) for task_id, _, failure in failed])


@instead_of(Tasks, "resume")
def never_resumes_a_task_that_rests(original: Any, self: Any, record: Any) -> None:
    pass


@instead_of(Timing, "stop")
def lets_tasks_go_on_after_their_time(original: Any, self: Any, record: Any, ending: Any) -> None:
    pass


@instead_of(Tasks, "_limit")
def gives_tasks_half_of_their_time(original: Any, self: Any, record: Any) -> None:
    original(self, record)
    if record.terms is not None and record.terms.deadline_of is record.spec:
        now = self._clock.now
        record.terms.deadline = now + (record.terms.deadline - now) / 2
        self._alarms.set(record.terms.deadline, What.DEADLINE, record)


# --- what belongs to a process ----------------------------------------------------------------


@instead_of(ResourcePool, "_choose_gpus")
def gives_one_gpu_to_many(original: Any, self: Any, demand: Any) -> Any:
    return () if not demand.gpu_units else (0,) * max(1, demand.gpu_units // demand.UNIT)


@instead_of(ResourcePool, "end")
def forgets_to_take_a_gpu_back(original: Any, self: Any, lease: Any) -> None:
    lease.devices = ()
    original(self, lease)


@instead_of(Fleet, "find_idle")
def runs_a_task_in_the_environment_of_another(
    original: Any, self: Any, environment: Any, devices: Any
) -> Any:
    return next((w for w in reversed(self.idle.values()) if w.devices == devices), None)


@instead_of(Fleet, "find_idle")
def runs_a_task_that_sees_the_gpus_of_another(
    original: Any, self: Any, environment: Any, devices: Any
) -> Any:
    return next((w for w in reversed(self.idle.values()) if w.environment == environment), None)


@instead_of(WorkerRecord, "may_also_run")
def lets_any_blocked_worker_help(original: Any, self: Any, target: Any) -> bool:
    return True


@instead_of(Losses, "memory_exceeded")
def tries_again_what_takes_too_much_memory(original: Any, self: Any, event: Any) -> None:
    self._fleet.kill(self._fleet.workers[event.worker_id])
