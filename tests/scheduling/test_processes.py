"""What belongs to a process: an environment, the GPUs that it sees, the memory that it takes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from flame_remote._environment import Environment
from flame_remote._scheduling.commands import Ending, KillWorker, SendTasks, StartWorker, StopWorker
from flame_remote._scheduling.events import MemoryExceeded
from flame_remote._scheduling.fleet import START_ATTEMPTS
from flame_remote._scheduling.records import TaskRecord
from flame_remote._spec import CallLimits, Target

from .helpers import Driven, actor_class, call, ended_with, function

HERE, THERE = Environment(folder="/here"), Environment(folder="/there")


def in_environment(environment: Environment | None, **amounts: Any) -> Target:
    return replace(function(**amounts), environment=environment)


def limited() -> Target:
    return replace(function(), limits=CallLimits(memory_bytes=1))


def run(driven: Driven, target: Target) -> TaskRecord:
    record = call(target)
    driven.submit(record)
    assert record.worker_id
    return record


# --- environments ---------------------------------------------------------------------------------


def test_a_worker_has_one_environment_for_life() -> None:
    driven = Driven(CPU=2)
    here = call(in_environment(HERE))
    assert driven.submit(here) == [StartWorker(1, 0, HERE), SendTasks(1, [here])]
    driven.end(1, here)
    plain, again = call(), call(in_environment(HERE))
    assert driven.submit(plain) == [StartWorker(2, 0), SendTasks(2, [plain])]
    assert driven.submit(again) == [SendTasks(1, [again])]


def test_an_idle_worker_goes_where_another_environment_needs_its_place() -> None:
    driven = Driven(CPU=1)
    first = run(driven, limited())
    never = call(after=(first,))
    driven.submit(never)
    driven.block(first, never)
    for request in (2, 3):
        driven.block(run(driven, limited()), never, request=request)
    idle = run(driven, function())
    driven.end(4, idle)
    here = call(in_environment(HERE))
    assert driven.submit(here) == [
        StopWorker(4),
        StartWorker(5, 0, HERE),
        SendTasks(5, [here]),
    ]


def test_no_process_is_started_for_another_environment_while_starting_fails() -> None:
    driven = Driven(CPU=3)
    idle = run(driven, function())
    driven.tell_heard(idle.worker_id)
    driven.end(idle.worker_id, idle)
    here = call(in_environment(HERE))
    driven.submit(here)
    for _ in range(START_ATTEMPTS):
        driven.lose(here.worker_id)
    assert not here.worker_id  # it waits for the pause to end
    plain = call()
    assert driven.submit(plain) == [SendTasks(1, [plain])]


def test_tasks_of_one_environment_do_not_run_on_top_of_those_of_another() -> None:
    driven = Driven(CPU=1)
    parent, child = call(in_environment(HERE)), call(in_environment(THERE))
    driven.submit(parent)
    driven.submit(child)
    assert driven.block(parent, child) == [StartWorker(2, 0, THERE), SendTasks(2, [child])]
    driven = Driven(CPU=1)
    parent, child = call(in_environment(HERE)), call(in_environment(HERE))
    driven.submit(parent)
    driven.submit(child)
    assert driven.block(parent, child) == [SendTasks(1, [child], helps=True)]


def test_recursion_through_two_environments_is_few_processes() -> None:
    driven = Driven(CPU=1)
    stack = [run(driven, in_environment(HERE))]
    for depth in range(1, 40):
        child = call(in_environment((HERE, THERE)[depth % 2]), parent=stack[-1])
        driven.submit(child)
        driven.block(stack[-1], child, request=depth)
        assert child.worker_id
        stack.append(child)
    assert len({record.worker_id for record in stack}) <= 4


def test_an_actor_has_the_environment_of_its_class() -> None:
    driven = Driven()
    actor = call(replace(actor_class(), environment=HERE))
    assert driven.submit(actor)[0] == StartWorker(1, actor.spec.id, HERE)


# --- GPUs -----------------------------------------------------------------------------------------


def test_a_process_sees_the_gpus_of_its_task_and_serves_others_with_the_same() -> None:
    driven = Driven(CPU=4, GPU=3)
    pair, single = function(GPU=2), function(GPU=1)
    first, second = call(pair), call(single)
    assert StartWorker(1, 0, None, (0, 1)) in driven.submit(first)
    assert StartWorker(2, 0, None, (2,)) in driven.submit(second)
    driven.end(1, first)
    driven.end(2, second)
    third = call(pair)
    assert driven.submit(third) == [SendTasks(1, [third])]


def test_an_idle_process_leaves_gpus_that_become_anothers() -> None:
    driven = Driven(CPU=4, GPU=2)
    single = run(driven, function(GPU=1))
    driven.end(1, single)
    both = call(function(GPU=2))
    assert driven.submit(both) == [
        StartWorker(2, 0, None, (0, 1)),
        StopWorker(1),
        SendTasks(2, [both]),
    ]
    driven.end(2, both)
    actor = call(actor_class(GPU=1))
    assert StopWorker(2) in driven.submit(actor)


def test_who_shares_a_gpu_stays() -> None:
    driven = Driven(CPU=4, GPU=1)
    part = run(driven, function(GPU=0.5))
    driven.end(1, part)
    actor = call(actor_class(GPU=0.5))
    assert StopWorker(1) not in driven.submit(actor)


def test_a_task_without_gpus_does_not_run_where_some_are_seen() -> None:
    driven = Driven(CPU=1, GPU=1)
    parent = run(driven, function(CPU=1, GPU=1))
    child = call(parent=parent)
    driven.submit(child)
    assert driven.block(parent, child) == [StartWorker(2, 0), SendTasks(2, [child])]


# --- memory ---------------------------------------------------------------------------------------


def test_a_task_that_takes_too_much_memory_ends_for_good() -> None:
    driven = Driven()
    task = run(driven, limited())
    assert driven.tell(MemoryExceeded(1, task.spec.id)) == [KillWorker(1)]
    assert ended_with(driven.lose(1, running=task)) == {task.spec.id: Ending.OUT_OF_MEMORY}


def test_an_actor_that_takes_too_much_memory_dies() -> None:
    driven = Driven()
    actor = call(replace(actor_class(), limits=CallLimits(memory_bytes=1)))
    driven.submit(actor)
    driven.end(1, actor)
    assert driven.tell(MemoryExceeded(1, 0)) == [KillWorker(1)]
    driven.lose(1)
    assert not driven.scheduler.actors.table


def test_news_of_a_task_that_has_ended_is_no_news() -> None:
    driven = Driven()
    task = run(driven, limited())
    driven.end(1, task)
    assert driven.tell(MemoryExceeded(1, task.spec.id)) == []
    assert driven.tell(MemoryExceeded(7, task.spec.id)) == []


@pytest.mark.parametrize("outer", [True, False])
def test_nothing_else_runs_in_a_process_whose_memory_is_limited(outer: bool) -> None:
    driven = Driven(CPU=1)
    parent = run(driven, limited() if outer else function())
    child = call(function() if outer else limited(), parent=parent)
    driven.submit(child)
    assert driven.block(parent, child) == [StartWorker(2, 0), SendTasks(2, [child])]


def test_what_needs_a_process_of_its_own_gets_one_when_all_others_wait() -> None:
    driven = Driven(CPU=1)
    stack = [run(driven, limited())]
    for depth in range(1, 12):
        child = call(limited(), parent=stack[-1])
        driven.submit(child)
        driven.block(stack[-1], child, request=depth)
        stack.append(child)
    assert len({record.worker_id for record in stack}) == 12
