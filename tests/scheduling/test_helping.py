"""What blocked workers are given to run meanwhile."""

from __future__ import annotations

from flame_remote._scheduling.commands import SendTasks, StartWorker
from flame_remote._scheduling.helping import MAX_HELP_DEPTH
from flame_remote._scheduling.records import TaskRecord

from .helpers import Driven, actor_class, call, calls, function, method


def nest(driven: Driven, depth: int) -> list[TaskRecord]:
    """Let a task wait for one that waits for one..., and return them; the last runs."""
    stack = [call()]
    driven.submit(stack[0])
    for request in range(1, depth):
        child = call(stack[-1].spec.target, parent=stack[-1])
        driven.submit(child)
        driven.block(stack[-1], child, request=request)
        stack.append(child)
    return stack


def test_blocked_task_runs_what_it_waits_for_itself() -> None:
    driven = Driven(CPU=1)
    task = call()
    child = call(parent=task)
    driven.submit(task)
    driven.submit(child)
    assert driven.block(task, child) == [SendTasks(1, [child], helps=True)]


def test_recursion_is_few_processes() -> None:
    driven = Driven(CPU=1)
    stack = nest(driven, MAX_HELP_DEPTH)
    assert {record.worker_id for record in stack} == {1}


def test_recursion_goes_on_elsewhere_rather_than_too_deep() -> None:
    driven = Driven(CPU=1)
    stack = nest(driven, MAX_HELP_DEPTH + 2)
    assert {record.worker_id for record in stack} == {1, 2}
    driven = Driven(CPU=1)
    deep = nest(driven, 200)
    assert all(record.worker_id for record in deep)
    assert max(record.worker_id for record in deep) <= 4


def test_task_with_a_time_limit_is_not_held_up() -> None:
    driven = Driven(CPU=1)
    task = call()
    child = call(parent=task)
    driven.submit(task)
    driven.submit(child)
    decided = driven.block(task, child, patient=False)
    assert decided == [StartWorker(2, 0), SendTasks(2, [child])]


def test_task_that_may_not_be_retried_carries_nothing() -> None:
    driven = Driven(CPU=1)
    task = call(function(max_retries=0))
    child = call(parent=task)
    driven.submit(task)
    driven.submit(child)
    assert StartWorker(2, 0) in driven.block(task, child)


def test_task_that_has_cost_a_worker_is_carried_by_nobody() -> None:
    driven = Driven(CPU=1)
    task = call()
    child = call(parent=task)
    driven.submit(child)
    driven.lose(1, running=child)
    driven.give_back(2, child)
    blocker = call()
    driven.submit(task, blocker)
    driven.block(task, child)
    assert child.worker_id != task.worker_id


def test_short_children_come_in_one_message_and_leave_some_for_others() -> None:
    driven, target = Driven(CPU=2), function()
    driven.run_ahead(target)
    task = call()
    driven.submit(task)
    children = calls(8, target, parent=task)
    blocker = call()
    driven.submit(blocker)
    driven.submit(*children)
    decided = driven.block(task, *children)
    assert SendTasks(task.worker_id, children[:4], helps=True) in decided


def test_what_nobody_else_can_take_runs_on_top_of_what_waits_for_it_indirectly() -> None:
    driven = Driven(CPU=1)
    actor = call(actor_class())
    driven.submit(actor)
    driven.end(1, actor)
    gate = call(method(), on=actor)
    hidden = call(after=[gate])
    behind = call(after=[hidden])
    driven.submit(gate, hidden, behind)
    for request in range(4):  # as many workers as there may be, each waiting for `behind`
        task = call()
        driven.submit(task)
        driven.block(task, behind, request=request)
    assert driven.end(1, gate) == [SendTasks(2, [hidden], helps=True)]


def test_task_is_not_helped_with_what_runs_already() -> None:
    driven = Driven(CPU=2)
    task, other = calls(2)
    driven.submit(task, other)
    assert driven.block(task, other) == []
