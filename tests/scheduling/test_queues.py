from __future__ import annotations

import pytest

from flame_remote._environment import Environment
from flame_remote._scheduling.queues import ReadyQueues
from flame_remote._scheduling.records import TaskRecord
from flame_remote._scheduling.states import TaskState
from flame_remote._spec import Demand

from .helpers import call, calls, function


@pytest.fixture
def queues() -> ReadyQueues:
    return ReadyQueues()


def ready(record: TaskRecord, depth: int = 0) -> TaskRecord:
    record.state = TaskState.READY
    record.depth = depth
    return record


def anything_fits(demand: Demand, environment: Environment | None) -> bool:
    return True


def pop_all(queues: ReadyQueues) -> list[TaskRecord]:
    popped = []
    while (record := queues.pop_best(anything_fits)) is not None:
        popped.append(record)
    return popped


def test_first_in_is_first_out(queues: ReadyQueues) -> None:
    records = [ready(record) for record in calls(5)]
    for record in records:
        queues.push(record)
    assert len(queues) == 5
    assert pop_all(queues) == records
    assert len(queues) == 0
    assert {record.state for record in records} == {TaskState.ASSIGNED}


def test_deeper_tasks_come_first(queues: ReadyQueues) -> None:
    shallow, deep = ready(call()), ready(call(), depth=1)
    queues.push(shallow)
    queues.push(deep)
    assert pop_all(queues) == [deep, shallow]


def test_of_equal_depth_the_oldest_task_comes_first_whatever_it_demands(
    queues: ReadyQueues,
) -> None:
    one, half = function(), function(CPU=0.5)
    records = [ready(call(target)) for target in (half, one, half, one)]
    for record in reversed(records[:2]):
        queues.push(record)
    for record in records[2:]:
        queues.push(record)
    assert pop_all(queues) == records


def test_task_that_does_not_fit_lets_others_pass(queues: ReadyQueues) -> None:
    big, small = ready(call(function(CPU=8))), ready(call())
    queues.push(big)
    queues.push(small)
    assert queues.pop_best(lambda demand, _: demand == small.spec.target.demand) is small
    assert queues.pop_best(lambda *_: False) is None
    assert len(queues) == 1


def test_more_of_the_same_is_of_the_same_target_up_to_the_first_other(
    queues: ReadyQueues,
) -> None:
    same, other = function(), function()
    first, *more = [ready(record) for record in calls(3, same)]
    late = ready(call(same))
    for record in (first, *more, ready(call(other)), late):
        queues.push(record)
    assert queues.pop_best(anything_fits) is first
    assert queues.pop_like(first, 1) == more[:1]
    assert queues.pop_like(first, 9) == more[1:]
    assert queues.pop_like(first, 9) == []
    assert len(queues) == 2


def test_more_of_the_same_is_of_the_same_depth(queues: ReadyQueues) -> None:
    target = function()
    queues.push(ready(call(target), depth=1))
    assert queues.pop_like(ready(call(target)), 9) == []


def test_task_that_comes_back_is_the_next(queues: ReadyQueues) -> None:
    first, second = (ready(record) for record in calls(2))
    queues.push(first)
    queues.push(second)
    assert queues.pop_best(anything_fits) is first
    first.state = TaskState.READY
    queues.push_front(first)
    assert pop_all(queues) == [first, second]


def test_task_taken_from_the_middle_does_not_come_up_again(queues: ReadyQueues) -> None:
    first, second, third = (ready(record) for record in calls(3))
    for record in (first, second, third):
        queues.push(record)
    queues.take(second)
    assert second.state is TaskState.ASSIGNED
    assert list(queues) == [first, third]
    assert pop_all(queues) == [first, third]


def test_task_that_ended_while_it_waited_does_not_come_up(queues: ReadyQueues) -> None:
    first, second = (ready(record) for record in calls(2))
    queues.push(first)
    queues.push(second)
    first.state = TaskState.CANCELLED
    queues.discard(first)
    assert len(queues) == 1
    assert pop_all(queues) == [second]


def test_task_that_was_taken_from_the_middle_and_came_back_comes_up_once(
    queues: ReadyQueues,
) -> None:
    first, second = (ready(record) for record in calls(2))
    queues.push(first)
    queues.push(second)
    queues.take(second)
    second.state = TaskState.READY
    queues.push_front(second)
    assert list(queues) == [second, first]
    assert pop_all(queues) == [second, first]


def test_queues_name_each_demand_that_waits(queues: ReadyQueues) -> None:
    one, half = call(), call(function(CPU=0.5))
    for record in (one, half, call(one.spec.target)):
        queues.push(ready(record))
    assert set(queues.demands()) == {one.spec.target.demand, half.spec.target.demand}
    pop_all(queues)
    assert list(queues.demands()) == []


def test_queues_say_what_kind_of_task_waits_if_it_is_one_kind(queues: ReadyQueues) -> None:
    record = ready(call(), depth=1)
    assert queues.only_kind() is None
    queues.push(record)
    queues.push(ready(call(record.spec.target), depth=1))
    assert queues.only_kind() == (0, 1, record.spec.target.demand, None)
    queues.push(ready(call(record.spec.target), depth=2))
    assert queues.only_kind() is None
