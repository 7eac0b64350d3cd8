"""Tasks in tasks."""

from __future__ import annotations

from typing import Any

import pytest

import flame_remote as flame

pytestmark = pytest.mark.usefixtures("engine")


@flame.remote
def fibonacci(n: int) -> int:
    if n < 2:
        return n
    return sum(flame.get([fibonacci.remote(n - 1), fibonacci.remote(n - 2)]))


@flame.remote
def depth(n: int) -> int:
    return 0 if n == 0 else 1 + flame.get(depth.remote(n - 1))


def test_a_task_may_call_tasks_and_wait_for_them() -> None:
    assert flame.get(fibonacci.remote(8)) == 21


def test_tasks_may_wait_for_each_other_deeper_than_there_are_cpus() -> None:
    assert flame.get(depth.remote(25)) == 25


def test_many_tasks_that_each_spawn_and_gather_come_to_an_end() -> None:
    @flame.remote
    def leaf(x: int) -> int:
        return x

    @flame.remote
    def spread(x: int) -> int:
        return sum(flame.get([leaf.remote(x + n) for n in range(4)]))

    assert flame.get([spread.remote(x) for x in range(50)]) == [4 * x + 6 for x in range(50)]


@pytest.mark.parametrize("frames", [0, 1, 2])  # between two tasks: Python's limit falls elsewhere
def test_tasks_that_call_themselves_without_end_fail_with_an_error(frames: int) -> None:
    def get(ref: Any, more: int = frames) -> Any:
        return get(ref, more - 1) if more else flame.get(ref)

    @flame.remote
    def endless(n: int) -> Any:
        return get(endless.remote(n + 1))

    error = endless.remote(0).exception(timeout=50)
    assert isinstance(error, flame.FlameError)
    assert flame.get(depth.remote(2)) == 2


def test_a_task_may_wait_for_some_and_cancel_the_rest() -> None:
    @flame.remote
    def leaf(x: int) -> int:
        return x

    @flame.remote
    def race() -> int:
        ready, rest = flame.wait([leaf.remote(n) for n in range(5)], num_returns=2)
        for ref in rest:
            flame.cancel(ref)
        return len(ready)

    assert flame.get(race.remote()) == 2


def test_a_tree_of_refs_is_combined() -> None:
    @flame.remote
    def combine(left: list[int], right: list[int]) -> list[int]:
        return left + right

    level: list[Any] = [flame.put([n]) for n in range(64)]
    while len(level) > 1:
        level = [combine.remote(level[n], level[n + 1]) for n in range(0, len(level), 2)]
    assert flame.get(level[0]) == list(range(64))


def test_a_task_cannot_shut_the_engine_down_or_start_another() -> None:
    @flame.remote
    def end() -> None:
        flame.shutdown()

    @flame.remote
    def start() -> None:
        flame.init()

    for ref in (end.remote(), start.remote()):
        with pytest.raises(flame.EngineError):
            flame.get(ref)
    assert flame.is_initialized()
