"""Replicas: several instances of a class behind one handle."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

import flame_remote as flame

from .local_engines import engine, nothing_is_left_behind, only_embedded

__all__ = ["engine", "nothing_is_left_behind"]
pytestmark = pytest.mark.usefixtures("engine")


@flame.remote(replicas=3)
class Model:
    def __init__(self, start: int = 0) -> None:
        self.opened = asyncio.Event()
        self.calls = start

    async def add(self) -> tuple[int, int]:
        self.calls += 1
        return id(self.opened), self.calls

    async def block(self) -> int:
        await self.opened.wait()
        return id(self.opened)

    async def open(self) -> None:
        self.opened.set()


@flame.remote
class Plain:
    def __init__(self, numbers: list[int]) -> None:
        self.numbers = numbers

    def me(self) -> list[int]:
        return self.numbers

    def count(self, number: int) -> Iterator[int]:
        yield from range(number)


def calls_in_state(word: str) -> int:
    return sum(task.state == word for task in flame.state.tasks())


def test_calls_are_spread_and_each_replica_has_a_state_of_its_own() -> None:
    model = Model.remote(10)
    seen = [flame.get(model.add.remote()) for _ in range(6)]
    assert sorted(calls for _, calls in seen) == [11, 11, 11, 12, 12, 12]


@only_embedded
def test_a_call_goes_to_the_replica_with_the_least_to_do() -> None:
    model = Model.remote()
    stuck = [model.block.remote() for _ in range(2)]
    done = [flame.get(model.add.remote())[1] for _ in range(4)]
    assert done == [1, 2, 3, 4]  # all on the one that is idle
    flame.get([model.open.remote() for _ in range(3)])
    flame.kill(model)
    flame.wait(stuck, num_returns=2)
    [ref.exception() for ref in stuck]


def test_there_are_as_many_actors_as_replicas_and_kill_ends_all() -> None:
    before = len(flame.state.actors())
    model = Model.remote()
    flame.get([model.add.remote() for _ in range(3)])
    assert len(flame.state.actors()) == before + 3
    flame.kill(model)
    for _ in range(4):
        with pytest.raises(flame.ActorDiedError, match="kill"):
            flame.get(model.add.remote())


def test_the_last_handle_ends_all() -> None:
    from ..conftest import wait_until

    before = {actor.actor_id for actor in flame.state.actors()}
    model = Model.remote()
    flame.get([model.add.remote() for _ in range(3)])
    del model
    assert wait_until(lambda: {actor.actor_id for actor in flame.state.actors()} <= before)


@only_embedded
def test_replicas_are_made_as_calls_need_them_and_get_the_first_arguments() -> None:
    numbers = [1]
    few = Plain.options(replicas=(1, 2), max_concurrency=1).remote(numbers)
    before = len(flame.state.actors())
    numbers.append(2)
    assert flame.get([few.me.remote(), few.me.remote(), few.me.remote()]) == [[1]] * 3
    assert len(flame.state.actors()) == before + 1


@only_embedded
def test_a_handle_passed_on_has_the_replicas_that_there_are() -> None:
    @flame.remote
    def use(model: Any) -> list[int]:
        return [calls for _, calls in flame.get([model.add.remote() for _ in range(3)])]

    model = Model.remote()
    assert flame.get(use.remote(model)) == [1, 1, 1]
    assert flame.get(flame.put([model]))[0] == model


@only_embedded
def test_a_replica_that_has_died_gets_no_more_calls() -> None:
    @flame.remote(replicas=2)
    class Fragile:
        def leave(self) -> None:
            import os

            os._exit(1)

        def stay(self) -> int:
            return 1

    fragile = Fragile.remote()
    with pytest.raises(flame.ActorDiedError):
        flame.get(fragile.leave.remote())
    assert flame.get([fragile.stay.remote() for _ in range(10)]) == [1] * 10


def test_generator_methods_run_on_one_of_them() -> None:
    plain = Plain.options(replicas=2).remote([])
    streams = [plain.count.remote(n) for n in range(4)]
    assert [list(stream.values()) for stream in streams] == [list(range(n)) for n in range(4)]


def test_the_limit_of_pending_calls_is_that_of_the_handle() -> None:
    model = Model.options(replicas=2, max_pending_calls=3).remote()
    stuck = [model.block.remote() for _ in range(3)]
    with pytest.raises(flame.PendingCallsLimitError):
        model.add.remote()
    flame.kill(model)
    [ref.exception() for ref in stuck]


@pytest.mark.parametrize(
    ("wrong", "error", "text"),
    [
        (0, ValueError, "replicas must be 1 or more, not 0"),
        ((2, 1), ValueError, "the second of replicas must be 2 or more, not 1"),
        ((1, 2, 3), ValueError, "replicas must be a number or two"),
        ("2", TypeError, "replicas must be a whole number, not str"),
    ],
)
def test_numbers_that_are_none_are_refused(wrong: Any, error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        Model.options(replicas=wrong)
