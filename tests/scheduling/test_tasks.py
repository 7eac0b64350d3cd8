"""How tasks come, wait for arguments, come back and end."""

from __future__ import annotations

from flame_remote._scheduling.commands import (
    Ending,
    EndTask,
    InterruptTask,
    KillWorker,
    SendTasks,
    StartWorker,
)
from flame_remote._scheduling.states import TaskState

from .helpers import Driven, call, calls, ended_with, function

# --- arguments ------------------------------------------------------------------------------


def test_task_goes_to_a_worker_that_is_started_for_it() -> None:
    driven, task = Driven(), call()
    assert driven.submit(task) == [StartWorker(1, 0), SendTasks(1, [task])]
    assert driven.end(1, task) == []
    assert task.state is TaskState.SUCCEEDED
    assert not driven.scheduler.tasks


def test_task_waits_for_all_its_arguments() -> None:
    driven, (one, two) = Driven(), calls(2)
    both = call(after=[one, two])
    driven.submit(one, two, both)
    assert driven.end(one.worker_id, one) == []
    assert both.state is TaskState.PENDING
    assert driven.end(two.worker_id, two) == [SendTasks(2, [both])]


def test_argument_that_is_there_already_is_not_waited_for() -> None:
    driven, one = Driven(), call()
    driven.submit(one)
    driven.end(1, one)
    two = call(after=[one])
    assert driven.submit(two) == [SendTasks(1, [two])]


def test_argument_that_is_taken_twice_is_waited_for_once() -> None:
    driven, one = Driven(), call()
    two = call(after=[one, one])
    driven.submit(one, two)
    assert driven.end(1, one) == [SendTasks(1, [two])]


def test_failed_argument_fails_what_takes_it_and_so_on() -> None:
    driven, one = Driven(), call()
    two = call(after=[one])
    three = call(after=[two])
    driven.submit(one, two, three)
    assert driven.end(1, one, failed=True) == [
        EndTask(two.spec.id, Ending.ARGUMENT_FAILED, one.spec.id),
        EndTask(three.spec.id, Ending.ARGUMENT_FAILED, two.spec.id),
    ]
    assert {two.state, three.state} == {TaskState.FAILED}


def test_long_chain_of_dependents_fails_to_its_end() -> None:
    driven, first = Driven(), call()
    chain = [first]
    for _ in range(5_000):
        chain.append(call(after=[chain[-1]]))
    driven.submit(*chain)
    assert len(driven.end(1, first, failed=True)) == 5_000
    assert not driven.scheduler.tasks


# --- cancelling -----------------------------------------------------------------------------


def test_task_that_waits_is_cancelled_with_what_takes_its_result() -> None:
    driven = Driven(CPU=1)
    running, waiting = calls(2)
    dependent = call(after=[waiting])
    driven.submit(running, waiting, dependent)
    assert driven.cancel(waiting) == [
        EndTask(waiting.spec.id, Ending.CANCELLED),
        EndTask(dependent.spec.id, Ending.ARGUMENT_FAILED, waiting.spec.id),
    ]
    assert waiting.state is TaskState.CANCELLED
    assert driven.end(1, running) == []


def test_task_on_a_worker_is_interrupted_and_then_ends_as_cancelled() -> None:
    driven, task = Driven(), call()
    driven.submit(task)
    assert driven.cancel(task, running=True) == [InterruptTask(1, task.spec.id)]
    assert ended_with(driven.end(1, task)) == {task.spec.id: Ending.CANCELLED}


def test_task_that_is_cancelled_does_not_start_again() -> None:
    driven, task = Driven(), call()
    driven.submit(task)
    driven.cancel(task)
    assert ended_with(driven.give_back(1, task)) == {task.spec.id: Ending.CANCELLED}
    assert not driven.scheduler.tasks


def test_task_that_runs_is_ended_by_force() -> None:
    driven, task = Driven(), call()
    driven.submit(task)
    assert driven.cancel(task, force=True, running=True) == [KillWorker(1)]
    assert driven.cancel(task, force=True, running=True) == []
    assert ended_with(driven.lose(1, running=task)) == {task.spec.id: Ending.CANCELLED}


def test_force_is_not_needed_for_a_task_that_has_not_started() -> None:
    driven, task = Driven(), call()
    driven.submit(task)
    assert driven.cancel(task, force=True) == [InterruptTask(1, task.spec.id)]


def test_others_on_a_worker_that_is_killed_for_one_run_again() -> None:
    driven, target = Driven(CPU=1), function(max_retries=0)
    driven.run_ahead(target)
    running, behind = calls(2, target)
    driven.submit(running, behind)
    assert running.worker_id == behind.worker_id == 1
    driven.cancel(running, force=True, running=True)
    decided = driven.lose(1, running=running)
    assert ended_with(decided) == {running.spec.id: Ending.CANCELLED}
    assert SendTasks(2, [behind]) in decided


def test_task_that_has_ended_is_not_cancelled() -> None:
    driven, task = Driven(), call()
    driven.submit(task)
    driven.end(1, task)
    assert driven.cancel(task) == []
    assert task.state is TaskState.SUCCEEDED


# --- coming back ----------------------------------------------------------------------------


def test_tasks_that_come_back_keep_their_order_and_go_first() -> None:
    driven, target = Driven(CPU=1), function()
    driven.run_ahead(target)
    sent = calls(4, target)
    driven.submit(*sent)
    late = [call(function(CPU=0.5)), *calls(2, target)]
    driven.submit(*late)
    driven.give_back(1, *sent[1:])
    assert driven.end(1, sent[0]) == [SendTasks(1, [*sent[1:], *late[1:]])]


def test_result_of_a_task_that_was_given_back_does_not_count() -> None:
    driven, task = Driven(), call()
    driven.submit(task)
    driven.give_back(1, task)
    worker_id = task.worker_id
    assert driven.end(3 - worker_id, task) == []
    assert task.state is TaskState.ASSIGNED


def test_started_task_of_a_lost_worker_is_tried_as_often_as_it_may_be() -> None:
    driven, task = Driven(), call(function(max_retries=2))
    driven.submit(task)
    for attempt in (1, 2):
        decided = driven.lose(task.worker_id, running=task)
        assert SendTasks(attempt + 1, [task]) in decided
    assert driven.lose(3, running=task) == [
        EndTask(task.spec.id, Ending.CRASHED, worker_id=3, attempts=3)
    ]


def test_unstarted_task_of_a_lost_worker_loses_no_attempt() -> None:
    driven, target = Driven(CPU=1), function(max_retries=0)
    driven.run_ahead(target)
    running, behind = calls(2, target)
    driven.submit(running, behind)
    decided = driven.lose(1, running=running)
    assert ended_with(decided) == {running.spec.id: Ending.CRASHED}
    assert behind.state is TaskState.ASSIGNED
    assert behind.attempts == 0


def test_blocked_task_of_a_lost_worker_had_started() -> None:
    driven, task = Driven(), call(function(max_retries=0))
    child = call(parent=task)
    driven.submit(task)
    driven.submit(child)
    driven.block(task, child)
    # What started last was something on top of it.
    assert ended_with(driven.lose(task.worker_id)) == {task.spec.id: Ending.CRASHED}


def test_task_may_be_tried_without_end() -> None:
    driven, task = Driven(), call(function(max_retries=-1))
    driven.submit(task)
    for _ in range(20):
        driven.tell_heard(task.worker_id)
        driven.lose(task.worker_id, running=task)
        assert task.state is TaskState.ASSIGNED
