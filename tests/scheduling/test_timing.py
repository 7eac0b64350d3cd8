from __future__ import annotations

from typing import Any

from flame_remote._ids import WorkerId
from flame_remote._scheduling import commands, events
from flame_remote._scheduling.alarms import _SMALLEST, Alarms, What
from flame_remote._scheduling.clock import Clock
from flame_remote._scheduling.commands import (
    Ending,
    EndTask,
    InterruptTask,
    KillWorker,
    SendTasks,
    StartWorker,
    StopWorker,
)
from flame_remote._scheduling.records import TaskRecord
from flame_remote._scheduling.states import TaskState
from flame_remote._scheduling.timing import GRACE_SECONDS
from flame_remote._spec import CallLimits, Demand, Target, TargetKind

from .helpers import Driven, actor_class, call, calls


def limited(name: str = "f", *, max_retries: int = 3, **limits: Any) -> Target:
    """Return a function with these limits."""
    demand = Demand.of({"CPU": 1.0})
    return Target(
        id(limits),
        TargetKind.FUNCTION,
        name,
        b"",
        demand,
        max_retries,
        limits=CallLimits(**limits),
    )


def running(driven: Driven, record: TaskRecord) -> WorkerId:
    """Submit a call, and let its worker report."""
    driven.submit(record)
    driven.tell_heard(record.worker_id)
    return record.worker_id


def fail_once(driven: Driven, record: TaskRecord, pause: float) -> list[commands.Command]:
    """Let an attempt fail that is not the last."""
    return driven.tell(
        events.TasksEnded(record.worker_id, [], {}, [(record.spec.id, pause, "attempt 1: no")])
    )


def ended(record: TaskRecord, ending: Ending, worker_id: WorkerId = 0, **more: Any) -> EndTask:
    return EndTask(record.spec.id, ending, 0, worker_id, **more)


def test_failed_attempt_leaves_its_worker_and_begins_again_after_its_pause() -> None:
    driven, task, other = Driven(CPU=1.0), call(), call()
    worker = running(driven, task)
    driven.submit(other)
    assert fail_once(driven, task, 2.0) == [SendTasks(worker, [other])]
    assert task.state is TaskState.RESTING
    driven.end(worker, other)
    assert driven.scheduler.next_tick == driven.now + 2.0
    assert driven.tick(1.0) == []
    assert driven.tick(1.0) == [SendTasks(worker, [task])]
    assert task.starts == 2
    assert task.terms is not None
    assert task.terms.failures == ["attempt 1: no"]


def test_without_a_pause_it_waits_behind_the_others() -> None:
    driven, task, other = Driven(CPU=1.0), call(), call()
    worker = running(driven, task)
    driven.submit(other)
    assert fail_once(driven, task, 0.0) == [SendTasks(worker, [other])]
    assert driven.end(worker, other) == [SendTasks(worker, [task])]


def test_resting_task_can_be_cancelled() -> None:
    driven, task = Driven(), call()
    running(driven, task)
    fail_once(driven, task, 2.0)
    assert driven.cancel(task) == [ended(task, Ending.CANCELLED)]
    assert driven.tick(2.0) == []


def test_task_that_was_cancelled_meanwhile_is_not_tried_again() -> None:
    driven, task = Driven(), call()
    worker = running(driven, task)
    driven.cancel(task)
    assert fail_once(driven, task, 0.0) == [ended(task, Ending.CANCELLED, worker)]


def test_task_that_runs_too_long_is_interrupted_and_ends_as_its_worker_says_so() -> None:
    driven, task = Driven(), call(limited(timeout=2.0))
    worker = running(driven, task)
    assert driven.tick(1.9) == []
    assert driven.tick(0.1) == [InterruptTask(worker, task.spec.id)]
    assert driven.end(worker, task, failed=True) == [ended(task, Ending.TIMED_OUT, worker)]


def test_worker_that_does_not_react_is_killed_and_its_task_not_run_again() -> None:
    driven, task = Driven(), call(limited(timeout=2.0, max_retries=-1))
    worker = running(driven, task)
    driven.tick(2.0)
    assert driven.tick(GRACE_SECONDS) == [KillWorker(worker)]
    assert driven.lose(worker, running=task) == [ended(task, Ending.TIMED_OUT, worker, attempts=1)]


def test_time_counts_from_when_the_worker_is_there() -> None:
    driven, task = Driven(), call(limited(timeout=2.0))
    driven.submit(task)
    assert driven.tick(2.0) == []  # its process is still starting
    driven.tell_heard(task.worker_id)
    assert driven.tick(1.5) == []
    assert driven.tick(2.0) == [InterruptTask(task.worker_id, task.spec.id)]


def test_time_of_an_actors_call_counts_from_when_those_before_it_have_ended() -> None:
    driven, actor = Driven(), call(actor_class())
    worker = running(driven, actor)
    driven.end(worker, actor)
    method = Target(
        1, TargetKind.METHOD, "m", b"", Demand(), 0, method="m", limits=CallLimits(timeout=2.0)
    )
    first, second = call(method, on=actor), call(method, on=actor)
    driven.submit(first, second)
    driven.tick(1.5)
    driven.end(worker, first)
    assert driven.tick(1.5) == []
    assert driven.tick(0.5) == [InterruptTask(worker, second.spec.id)]


def test_calls_with_a_time_limit_are_sent_one_by_one() -> None:
    driven, target = Driven(CPU=1.0), limited(timeout=9.0)
    driven.run_ahead(target)
    tasks = calls(3, target)
    assert driven.submit(*tasks) == [SendTasks(1, tasks[:1])]


def test_worker_ends_after_so_many_calls_and_another_takes_the_next() -> None:
    driven, target = Driven(CPU=1.0), limited(max_calls=2)
    first, second, third = calls(3, target)
    assert driven.submit(first, second, third) == [StartWorker(1, 0), SendTasks(1, [first])]
    assert driven.end(1, first) == [SendTasks(1, [second])]
    assert driven.end(1, second) == [StopWorker(1), StartWorker(2, 0), SendTasks(2, [third])]


def test_deadline_ends_a_task_wherever_it_is() -> None:
    driven, target = Driven(CPU=1.0), limited(deadline=2.0)
    first, second = calls(2, target)
    third = call(target, after=[second])
    worker = running(driven, first)
    driven.submit(second, third)
    assert driven.tick(2.0) == [
        InterruptTask(worker, first.spec.id),
        ended(second, Ending.DEADLINE, deadline_of=second.spec),
        EndTask(third.spec.id, Ending.ARGUMENT_FAILED, because=second.spec.id),
    ]


def test_children_have_the_deadline_and_the_priority_of_their_parent() -> None:
    driven, parent = Driven(), call(limited(deadline=2.0, priority=7))
    running(driven, parent)
    driven.tick(1.0)
    child = call(parent=parent)
    grandchild = call(limited(deadline=9.0, priority=1), parent=child)
    driven.submit(child, grandchild)
    assert (child.priority, grandchild.priority) == (7, 1)
    for record in (child, grandchild):
        assert record.terms is not None
        assert record.terms.deadline == driven.now + 1.0
        assert record.terms.deadline_of is parent.spec


def test_urgent_tasks_run_first_and_deeper_ones_among_equals() -> None:
    driven = Driven(CPU=1.0)
    parent = call()
    worker = running(driven, parent)
    plain = call()
    child = call(parent=parent)
    urgent = call(limited(priority=1))
    idle = call(limited(priority=-1))
    driven.submit(plain, idle, child, urgent)
    order = []
    while driven.scheduler.tasks:
        (record,) = driven.scheduler.workers[worker].assigned.values()
        order.append(record)
        driven.end(worker, record)
    assert order == [parent, urgent, child, plain, idle]


def test_alarms_of_tasks_that_have_ended_do_not_pile_up() -> None:
    clock = Clock()
    alarms = Alarms(clock)
    for _ in range(10 * _SMALLEST):
        task = call()
        alarms.set(1000.0, What.DEADLINE, task)
        task.state = TaskState.SUCCEEDED
    assert len(alarms) <= _SMALLEST
    assert clock.next_tick == 1000.0
