"""Generators whose items come one by one."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

import flame_remote as flame

pytestmark = pytest.mark.usefixtures("engine_of_file")


@flame.remote
def count(number: int) -> Iterator[int]:
    yield from range(number)


@flame.remote
async def count_later(number: int) -> AsyncIterator[int]:
    for item in range(number):
        await asyncio.sleep(0)
        yield item


@flame.remote
def fail_after(number: int) -> Iterator[int]:
    yield from range(number)
    raise ValueError(f"after {number}")


def log() -> Any:
    """Return the handle of an actor that keeps what it is told."""

    @flame.remote
    class Log:
        def __init__(self) -> None:
            self.lines: list[Any] = []

        def add(self, line: Any) -> None:
            self.lines.append(line)

        def read(self) -> list[Any]:
            return self.lines

    return Log.remote()


@flame.remote
def noting(log: Any, number: int) -> Iterator[int]:
    """Yield numbers; note each, and the end."""
    try:
        for item in range(number):
            flame.get(log.add.remote(item))
            yield item
    finally:
        flame.get(log.add.remote("closed"))


@pytest.mark.parametrize("function", [count, count_later], ids=["plain", "async"])
def test_a_generator_function_returns_refs_of_its_items_in_order(function: Any) -> None:
    stream = function.remote(100)
    assert isinstance(stream, flame.ObjectRefGenerator)
    refs = list(stream)
    assert all(isinstance(ref, flame.ObjectRef) for ref in refs)
    assert flame.get(refs) == list(range(100))
    assert list(stream) == []
    assert stream.is_finished()


def test_values_come_without_refs() -> None:
    assert list(count.remote(3).values()) == [0, 1, 2]
    assert list(count.remote(0).values()) == []


def test_coroutines_iterate_too() -> None:
    async def collect() -> Any:
        refs = [await ref async for ref in count.remote(3)]
        return refs, [value async for value in count_later.remote(4).values()]

    assert asyncio.run(collect()) == ([0, 1, 2], [0, 1, 2, 3])


def test_an_exception_is_raised_by_the_last_ref() -> None:
    refs = list(fail_after.remote(2))
    assert flame.get(refs[:2]) == [0, 1]
    assert len(refs) == 3
    with pytest.raises(ValueError, match="after 2"):
        flame.get(refs[2])


def test_values_raise_the_exception() -> None:
    values = fail_after.remote(1).values()
    assert next(values) == 0
    with pytest.raises(ValueError, match="after 1"):
        next(values)
    with pytest.raises(StopIteration):
        next(values)


def test_refs_are_arguments_of_other_calls_and_live_on() -> None:
    @flame.remote
    def double(value: int) -> int:
        return 2 * value

    doubled = [double.remote(ref) for ref in count.remote(5)]
    assert flame.get(doubled) == [0, 2, 4, 6, 8]


def test_large_items_come_whole() -> None:
    @flame.remote
    def blocks() -> Iterator[bytes]:
        for letter in b"abc":
            yield bytes([letter]) * 200_000

    assert [value[:1] * (len(value) // 200_000) for value in blocks.remote().values()] == [
        b"a",
        b"b",
        b"c",
    ]


def test_with_backpressure_the_generator_runs_ahead_by_so_many_items() -> None:
    noted = log()
    stream = noting.options(backpressure=2).remote(noted, 100)
    assert flame.get(next(stream)) == 0
    flame.wait([stream])
    assert len(flame.get(noted.read.remote())) <= 3
    assert list(stream.values()) == list(range(1, 100))


def test_closing_ends_the_generator() -> None:
    noted = log()
    stream = noting.options(backpressure=1).remote(noted, 10**9)
    next(stream)
    stream.close()
    stream.close()
    while flame.get(noted.read.remote())[-1] != "closed":
        pass
    assert len(flame.get(noted.read.remote())) <= 4
    with pytest.raises(StopIteration):
        next(stream)


def test_dropping_ends_the_generator() -> None:
    noted = log()
    stream = noting.remote(noted, 10**9)
    next(stream)
    del stream
    gc.collect()
    while flame.get(noted.read.remote())[-1] != "closed":
        pass


def test_completed_is_there_when_the_generator_has_run_to_its_end() -> None:
    noted = log()
    stream = noting.options(backpressure=1).remote(noted, 5)
    assert flame.get(stream.completed()) is None
    assert flame.get(noted.read.remote())[:5] == [0, 1, 2, 3, 4]
    assert list(stream.values()) == [0, 1, 2, 3, 4]
    failing = fail_after.remote(2)
    with pytest.raises(ValueError, match="after 2"):
        flame.get(failing.completed())
    assert len(list(failing)) == 3


def test_wait_takes_generators_beside_refs() -> None:
    first, second = count.remote(1), count.remote(2)
    ready, rest = flame.wait([first, second], num_returns=2)
    assert (ready, rest) == ([first, second], [])
    assert list(first.values()) == [0]
    assert flame.wait([first]) == ([first], [])  # nothing more to wait for
    with pytest.raises(flame.RefMisuseError):
        flame.wait([second, 3])  # type: ignore[list-item]


def test_tasks_use_generators_too() -> None:
    @flame.remote
    def total(number: int) -> int:
        return sum(count.remote(number).values())

    assert flame.get([total.remote(10), total.remote(20)]) == [45, 190]


def test_several_generators_share_the_cpus() -> None:
    streams = [count.remote(number) for number in range(6)]
    assert [list(stream.values()) for stream in streams] == [list(range(n)) for n in range(6)]


def test_num_returns_takes_so_many_items_at_once() -> None:
    assert flame.get(count.options(num_returns=3).remote(3)) == [0, 1, 2]
    with pytest.raises(flame.ReturnCountError):
        flame.get(count.options(num_returns=3).remote(2)[0])


def test_what_a_generator_cannot_have_is_refused() -> None:
    with pytest.raises(flame.InvalidOptionError, match="count cannot have timeout"):
        count.options(timeout=1)
    with pytest.raises(flame.InvalidOptionError, match="cannot have backpressure"):

        @flame.remote(backpressure=1)
        def plain() -> None:
            pass

    with pytest.raises(TypeError, match="missing 1 required positional argument"):
        count.remote()
    with pytest.raises(flame.SerializationError):
        fail_after.remote(count.remote(1))
