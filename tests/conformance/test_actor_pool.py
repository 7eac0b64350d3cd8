"""ActorPool: work for whichever actor is idle."""

from __future__ import annotations

from typing import Any

import pytest

import flame_remote as flame

from .helpers import gate

pytestmark = pytest.mark.usefixtures("engine")


@flame.remote
class Doubler:
    def double(self, x: Any) -> Any:
        return x * 2

    def fail(self, x: Any) -> None:
        raise ValueError(x)


def double(actor: Any, value: Any) -> Any:
    return actor.double.remote(value)


def test_map_returns_results_in_order_with_fewer_actors_than_values() -> None:
    pool = flame.ActorPool([Doubler.remote(), Doubler.remote()])
    assert list(pool.map(double, range(20))) == [2 * n for n in range(20)]
    assert sorted(pool.map_unordered(double, range(20))) == [2 * n for n in range(20)]


def test_results_come_in_the_order_of_submission_or_as_they_end() -> None:
    first, second = gate(), gate()
    pool: flame.ActorPool[Any] = flame.ActorPool([first, second])
    for place in range(2):
        pool.submit(lambda actor, place: actor.wait.remote(place), place)
    second.open.remote()
    assert pool.get_next_unordered() == 1
    first.open.remote()
    assert pool.get_next() == 0
    assert not pool.has_next()


def test_an_actor_is_free_again_when_its_result_was_taken_an_error_too() -> None:
    actor = Doubler.remote()
    pool = flame.ActorPool([actor])
    assert pool.has_free()
    pool.submit(lambda actor, value: actor.fail.remote(value), 1)
    assert not pool.has_free()
    assert pool.pop_idle() is None
    with pytest.raises(ValueError, match="1"):
        pool.get_next()
    assert pool.pop_idle() == actor


def test_a_pushed_actor_takes_the_work_that_waits() -> None:
    pool: flame.ActorPool[Any] = flame.ActorPool([])
    pool.submit(double, 4)
    assert pool.has_next()
    actor = Doubler.remote()
    pool.push(actor)
    assert pool.get_next() == 8
    with pytest.raises(ValueError, match="is in this pool already"):
        pool.push(actor)


def test_without_work_there_is_no_next_result() -> None:
    with pytest.raises(StopIteration, match="nothing is submitted"):
        flame.ActorPool([]).get_next()
    with pytest.raises(StopIteration, match="nothing is submitted"):
        flame.ActorPool([]).get_next_unordered()


def test_a_result_that_is_late_can_be_had_later() -> None:
    held = gate()
    pool: flame.ActorPool[Any] = flame.ActorPool([held])
    pool.submit(lambda actor, value: actor.wait.remote(value), 1)
    with pytest.raises(flame.GetTimeoutError):
        pool.get_next(timeout=0.01)
    with pytest.raises(flame.GetTimeoutError):
        pool.get_next_unordered(timeout=0)
    held.open.remote()
    assert pool.get_next() == 1
