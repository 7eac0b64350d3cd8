"""Generator methods: their items come one by one, and other calls come between them."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

import flame_remote as flame

pytestmark = pytest.mark.usefixtures("engine")


@flame.remote
class Plain:
    """Counts, and notes what it does."""

    def __init__(self) -> None:
        self.notes: list[Any] = []

    def count(self, number: int) -> Iterator[int]:
        try:
            for item in range(number):
                self.notes.append(item)
                yield item
        finally:
            self.notes.append("closed")

    def fail_after(self, number: int) -> Iterator[int]:
        yield from range(number)
        raise ValueError(f"after {number}")

    def note(self, what: Any) -> None:
        self.notes.append(what)

    def read(self) -> list[Any]:
        return self.notes

    def clear(self) -> None:
        self.notes.clear()


@flame.remote
class Later:
    def __init__(self) -> None:
        self.notes: list[Any] = []

    async def count(self, number: int) -> AsyncIterator[int]:
        try:
            for item in range(number):
                await asyncio.sleep(0)
                self.notes.append(item)
                yield item
        finally:
            self.notes.append("closed")

    async def fail_after(self, number: int) -> AsyncIterator[int]:
        for item in range(number):
            yield item
        raise ValueError(f"after {number}")

    def plain_count(self, number: int) -> Iterator[int]:
        yield from range(number)

    def read(self) -> list[Any]:
        return self.notes


Threaded = flame.remote(max_concurrency=3)(Plain.__wrapped__)
KINDS = pytest.mark.parametrize("cls", [Plain, Later, Threaded], ids=["plain", "async", "threads"])


@KINDS
def test_a_generator_method_returns_refs_of_its_items_in_order(cls: Any) -> None:
    actor = cls.remote()
    stream = actor.count.remote(40)
    assert isinstance(stream, flame.ObjectRefGenerator)
    assert flame.get(list(stream)) == list(range(40))
    assert stream.is_finished()
    assert list(actor.count.remote(0).values()) == []
    assert flame.get(actor.read.remote()).count("closed") == 2


@KINDS
def test_an_exception_is_raised_by_the_last_ref_and_the_actor_lives_on(cls: Any) -> None:
    actor = cls.remote()
    values = actor.fail_after.remote(2).values()
    assert [next(values), next(values)] == [0, 1]
    with pytest.raises(ValueError, match="after 2") as caught:
        next(values)
    assert isinstance(caught.value, flame.TaskError)
    assert caught.value.function_name.endswith(".fail_after")
    assert list(actor.count.remote(2).values()) == [0, 1]


def test_other_calls_come_between_the_items_even_of_a_generator_without_end() -> None:
    actor = Plain.remote()
    stream = actor.count.options(backpressure=2).remote(10**9)
    assert flame.get(next(stream)) == 0
    flame.get(actor.note.remote("between"))
    assert list(map(flame.get, (next(stream) for _ in range(5)))) == [1, 2, 3, 4, 5]
    notes = flame.get(actor.read.remote())
    assert 0 < notes.index("between") <= 5
    stream.close()


def test_two_iterations_on_one_actor_have_nothing_to_do_with_each_other() -> None:
    actor = Plain.remote()
    pairs = zip(actor.count.remote(5).values(), actor.count.remote(9).values(), strict=False)
    assert list(pairs) == [(n, n) for n in range(5)]


def test_with_backpressure_the_method_runs_ahead_by_so_many_items() -> None:
    actor = Plain.remote()
    stream = actor.count.options(backpressure=2).remote(100)
    assert flame.get(next(stream)) == 0
    flame.wait([stream])
    assert len(flame.get(actor.read.remote())) <= 3
    assert list(stream.values()) == list(range(1, 100))


@KINDS
def test_closing_ends_the_generator_and_runs_its_clean_up(cls: Any) -> None:
    actor = cls.remote()
    stream = actor.count.options(backpressure=1).remote(10**9)
    next(stream)
    stream.close()
    stream.close()
    while flame.get(actor.read.remote())[-1] != "closed":
        pass
    with pytest.raises(StopIteration):
        next(stream)


def test_dropping_ends_the_generator() -> None:
    actor = Plain.remote()
    stream = actor.count.options(backpressure=1).remote(10**9)
    next(stream)
    del stream
    gc.collect()
    while flame.get(actor.read.remote())[-1] != "closed":
        pass


def test_an_iteration_keeps_its_actor_alive() -> None:
    assert list(Plain.remote().count.remote(20).values()) == list(range(20))


@KINDS
def test_completed_is_there_when_the_generator_has_run_to_its_end(cls: Any) -> None:
    actor = cls.remote()
    stream = actor.count.options(backpressure=1).remote(5)
    assert flame.get(stream.completed()) is None
    assert flame.get(actor.read.remote()) == [0, 1, 2, 3, 4, "closed"]
    assert list(stream.values()) == [0, 1, 2, 3, 4]
    failing = actor.fail_after.remote(2)
    with pytest.raises(ValueError, match="after 2"):
        flame.get(failing.completed())


def test_coroutines_iterate_too_and_plain_generators_work_beside_async_methods() -> None:
    actor = Later.remote()

    async def collect() -> list[int]:
        return [value async for value in actor.count.remote(4).values()]

    assert asyncio.run(collect()) == [0, 1, 2, 3]
    assert list(actor.plain_count.remote(3).values()) == [0, 1, 2]


def test_arguments_may_be_refs_and_one_that_failed_fails_the_first_item() -> None:
    @flame.remote
    def fail() -> int:
        raise KeyError("argument")

    actor = Plain.remote()
    iter_of_nothing = (item for item in ())
    assert list(actor.count.remote(flame.put(3)).values()) == [0, 1, 2]
    with pytest.raises(KeyError, match="argument"):
        list(actor.count.remote(fail.remote()).values())
    with pytest.raises(TypeError, match=r"Plain\.count\(\)"):
        actor.count.remote()
    with pytest.raises(flame.SerializationError, match=r"argument 1 \('number'\) of Plain\.count"):
        actor.count.remote(iter_of_nothing)


def test_a_dead_actor_ends_its_iterations_with_an_error() -> None:
    actor = Plain.remote()
    stream = actor.count.options(backpressure=1).remote(10**9)
    next(stream)
    flame.kill(actor)
    with pytest.raises(flame.ActorDiedError):
        list(stream.values())


def test_tasks_and_actors_use_generator_methods_too() -> None:
    @flame.remote
    def total(actor: Any, number: int) -> int:
        return sum(actor.count.remote(number).values())

    actor = Plain.remote()
    assert flame.get([total.remote(actor, 10), total.remote(actor, 20)]) == [45, 190]


def test_num_returns_takes_so_many_items_at_once() -> None:
    actor: Any = Plain.remote()
    assert flame.get(actor.count.options(num_returns=3).remote(3)) == [0, 1, 2]


def test_what_a_generator_method_cannot_have_is_refused() -> None:
    actor = Plain.remote()
    with pytest.raises(flame.InvalidOptionError, match=r"Plain\.count cannot have timeout"):
        actor.count.options(timeout=1)
    with pytest.raises(flame.InvalidOptionError, match=r"Plain\.read cannot have backpressure"):
        actor.read.options(backpressure=1)


def test_a_failed_item_is_not_saved_to_be_replayed(tmp_path: Any, engine: str) -> None:
    if engine not in ("inline", "embedded"):
        with pytest.raises(flame.EngineError):
            flame.save_failed_calls(str(tmp_path))
        return
    flame.save_failed_calls(str(tmp_path))
    with pytest.raises(ValueError, match="after 1"):
        list(Plain.remote().fail_after.remote(1).values())
    assert list(tmp_path.iterdir()) == []
