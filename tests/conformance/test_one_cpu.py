"""Calls that wait for calls where there is one CPU."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

import flame_remote as flame

from ..conftest import leaving_nothing_behind


@pytest.fixture(scope="module", autouse=True, params=["inline", "embedded"])
def engine(request: pytest.FixtureRequest) -> Iterator[str]:
    """Run the tests on an engine with one CPU; its name."""
    if flame.is_initialized():  # the one on Flame, of other files
        flame.shutdown()
    leaks = leaving_nothing_behind()
    next(leaks)
    with flame.init(engine=request.param, num_cpus=1):
        yield request.param
    next(leaks, None)


@pytest.fixture(autouse=True)
def nothing_is_left_behind() -> None:
    """Checked after the last test, as they share the engine."""


@flame.remote
def identity(value: int) -> int:
    return value


@flame.remote
def parent(value: int) -> int:
    return flame.get(identity.remote(value))


@flame.remote
def depth(number: int) -> int:
    return 0 if number == 0 else 1 + flame.get(depth.remote(number - 1))


def test_a_task_waits_for_one_that_waits_for_one_and_so_on() -> None:
    assert flame.get(depth.remote(50)) == 50


def test_a_thousand_tasks_wait_each_for_one_of_its_own() -> None:
    assert flame.get([parent.remote(n) for n in range(1000)]) == list(range(1000))


def test_an_actor_and_a_task_share_it_and_wait_for_each_other() -> None:
    @flame.remote(num_cpus=1)
    class Holder:
        def work(self, value: int) -> int:
            return flame.get(parent.remote(value))

    holder = Holder.remote()
    assert flame.get([holder.work.remote(n) for n in range(20)]) == list(range(20))
