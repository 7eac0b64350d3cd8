"""Which worker gets which tasks, and how many at a time."""

from __future__ import annotations

from flame_remote._scheduling.commands import RecallTasks, SendTasks, StartWorker
from flame_remote._scheduling.placement import STALL_SECONDS
from flame_remote._scheduling.records import TaskRecord

from .helpers import SHORT, Driven, call, calls, function


def sent(decided: object) -> list[list[TaskRecord]]:
    assert isinstance(decided, list)
    return [list(command.records) for command in decided if isinstance(command, SendTasks)]


def test_tasks_of_unknown_length_go_out_one_to_a_worker() -> None:
    driven, records = Driven(CPU=2), calls(5)
    assert sent(driven.submit(*records)) == [[records[0]], [records[1]]]
    assert driven.end(1, records[0]) == [SendTasks(1, [records[2]])]


def test_short_tasks_are_shared_out_at_once() -> None:
    driven, target = Driven(CPU=2), function()
    driven.run_ahead(target)
    records = calls(10, target)
    shares = sent(driven.submit(*records))
    assert [len(share) for share in shares] == [6, 4]
    assert [record for share in shares for record in share] == records


def test_long_tasks_are_not_sent_ahead() -> None:
    driven, target = Driven(CPU=1), function()
    first, *others = calls(3, target)
    driven.submit(first, *others)
    assert sent(driven.end(1, first, seconds=1.0)) == [others[:1]]


def test_worker_that_runs_low_gets_more_of_the_same() -> None:
    driven, target = Driven(CPU=1), function()
    driven.run_ahead(target)
    first, *others = calls(4, target)
    assert sent(driven.submit(first)) == [[first]]
    assert sent(driven.submit(*others)) == [others]


def test_worker_that_runs_low_gets_no_more_while_something_else_waits() -> None:
    driven, target = Driven(CPU=1), function()
    driven.run_ahead(target)
    first, other, more = call(target), call(function(CPU=0.5)), call(target)
    driven.submit(first)
    assert driven.submit(other, more) == []
    assert sent(driven.end(1, first)) == [[other]]


def test_only_tasks_of_one_target_share_a_message() -> None:
    driven, target, other = Driven(CPU=1), function(), function()
    driven.run_ahead(target)
    blocker = call()
    driven.submit(blocker)
    same = calls(2, target)
    driven.submit(*same, call(other), call(target))
    assert sent(driven.end(1, blocker)) == [same]


def test_resources_that_are_taken_are_waited_for() -> None:
    driven = Driven(CPU=4, GPU=1)
    first, second = calls(2, function(GPU=1))
    small = call()
    assert sent(driven.submit(first, second, small)) == [[first], [small]]
    assert driven.end(first.worker_id, first) == [SendTasks(first.worker_id, [second])]


def test_deeper_task_goes_first() -> None:
    driven = Driven(CPU=1)
    parent, waiting = calls(2)
    child = call(parent=parent)
    driven.submit(parent, waiting)
    driven.submit(child)
    assert sent(driven.end(1, parent)) == [[child]]


def test_worker_that_was_busy_last_is_taken_first() -> None:
    driven, (one, two) = Driven(CPU=2), calls(2)
    driven.submit(one, two)
    driven.end(2, two)
    driven.end(1, one)
    last = call()
    assert driven.submit(last) == [SendTasks(1, [last])]


# --- workers that say nothing ---------------------------------------------------------------


def stalled(driven: Driven) -> list[TaskRecord]:
    """Send a worker several short tasks."""
    target = function()
    driven.run_ahead(target)
    records = calls(3, target)
    driven.submit(*records)
    return records


def test_silent_worker_is_asked_once_for_what_it_has_not_started() -> None:
    driven = Driven(CPU=1)
    stalled(driven)
    due = driven.scheduler.next_tick
    assert due is not None
    assert due <= driven.now + STALL_SECONDS
    assert driven.tick(STALL_SECONDS) == [RecallTasks(1)]
    assert driven.tick(STALL_SECONDS) == []
    assert driven.scheduler.next_tick is None


def test_worker_that_reports_is_not_asked() -> None:
    driven = Driven(CPU=1)
    first, *_ = stalled(driven)
    driven.now += STALL_SECONDS * 0.6
    driven.end(1, first, seconds=SHORT)
    assert driven.tick(STALL_SECONDS * 0.6) == []
    assert driven.tick(STALL_SECONDS) == [RecallTasks(1)]


def test_worker_that_was_asked_is_asked_again_after_it_has_moved_on() -> None:
    driven = Driven(CPU=1)
    first, *others = stalled(driven)
    driven.tick(STALL_SECONDS)
    driven.end(1, first, seconds=SHORT)
    driven.give_back(1)
    assert driven.scheduler.tasks[others[0].spec.id].worker_id == 1
    more = calls(3, others[0].spec.target)
    driven.submit(*more)
    assert driven.tick(2 * STALL_SECONDS) == [RecallTasks(1)]


def test_worker_with_one_long_task_is_left_alone() -> None:
    driven, task = Driven(CPU=1), call()
    driven.submit(task)
    assert driven.scheduler.next_tick is None


def test_what_is_given_back_goes_to_others() -> None:
    driven, target = Driven(CPU=2), function()
    driven.run_ahead(target)
    first, second = calls(2, target)
    assert sent(driven.submit(first, second)) == [[first, second]]
    assert driven.give_back(1, second) == [StartWorker(2, 0), SendTasks(2, [second])]


def test_worker_that_has_not_begun_to_live_is_not_asked() -> None:
    driven, target = Driven(CPU=1), function()
    driven.run_ahead(target)
    driven.lose(1)
    records = calls(3, target)
    assert StartWorker(2, 0) in driven.submit(*records)
    assert driven.tick(STALL_SECONDS) == []
    driven.tell_heard(2)
    assert driven.tick(STALL_SECONDS) == [RecallTasks(2)]
