"""What the simulation has found, with real processes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

import flame_remote as flame


@pytest.fixture(autouse=True)
def engine() -> Iterator[None]:
    flame.init(num_cpus=1)
    yield
    flame.shutdown()


@flame.remote
class Store:
    def keep(self, value: int) -> int:
        return value

    def fill(self, box: list[Any]) -> None:
        while True:
            double.remote(box[0])


@flame.remote
def double(value: int) -> int:
    return 2 * value


@flame.remote
def ask(store: Any) -> int:
    return flame.get(store.keep.remote(1))


@flame.remote
def hand_over(store: Any) -> list[int]:
    asked = ask.remote(store)
    return flame.get([store.keep.remote(asked), asked])


def test_task_may_call_an_actor_that_waits_for_its_result() -> None:
    # Both tasks run in one process, one on top of the other. They are two callers: the call of the
    # inner one must not wait for that of the outer one, which takes what the inner one returns.
    assert flame.get(hand_over.remote(Store.remote()), timeout=30) == [1, 1]


def test_actor_that_goes_on_calling_while_it_is_killed_harms_nobody() -> None:
    # It uses what its arguments hold, to its very end.
    for _ in range(5):
        store = Store.remote()
        value = flame.put(21)
        filling = store.fill.remote([value])
        del value
        flame.get(double.remote(1))  # meanwhile it calls
        flame.kill(store)
        with pytest.raises(flame.ActorDiedError, match=r"ended by flame\.kill"):
            flame.get(filling, timeout=30)
    assert flame.get(double.remote(4)) == 8
