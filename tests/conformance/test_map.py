"""fn.map, fn.starmap, fn.map_unordered."""

from __future__ import annotations

import itertools
import os
import threading
from collections.abc import Iterator
from typing import Any

import pytest

import flame_remote as flame

from .helpers import gate

pytestmark = pytest.mark.usefixtures("engine_of_file")


@flame.remote
def double(x: Any) -> Any:
    return x * 2


@flame.remote
def add(a: int, b: int = 0) -> int:
    return a + b


@flame.remote
def refuse_odd(x: int) -> int:
    if x % 2:
        raise ValueError(f"{x} is odd")
    return x


@flame.remote
async def doubled_later(x: int) -> int:
    return x * 2


def test_map_returns_all_results_in_order() -> None:
    assert list(double.map(range(5000))) == [2 * n for n in range(5000)]


def test_map_of_nothing_is_empty() -> None:
    assert list(double.map([])) == []


def test_map_takes_one_argument_from_each_iterable_and_ends_with_the_shortest() -> None:
    assert list(add.map([1, 2, 3], [10, 20])) == [11, 22]


def test_starmap_takes_all_arguments_of_a_call_from_one_row() -> None:
    assert list(add.starmap([(1, 2), [3, 4], (5,)])) == [3, 7, 5]


def test_map_unordered_returns_each_result_once() -> None:
    assert sorted(double.map_unordered(range(3000))) == [2 * n for n in range(3000)]


def test_map_takes_from_an_endless_iterable_only_as_much_as_it_needs() -> None:
    taken = 0

    def endless() -> Iterator[int]:
        nonlocal taken
        for number in itertools.count(1):
            taken = number
            yield number

    results = double.map(endless(), window=10)
    assert [next(results) for _ in range(20)] == [2 * n for n in range(1, 21)]
    results.close()
    assert taken <= 40


def test_map_begins_before_the_first_result_is_asked_for(tmp_path: Any) -> None:
    @flame.remote
    def touch(name: str) -> None:
        (tmp_path / name).touch()

    results = touch.map(["a"])
    flame.wait([touch.remote("b")])
    while not (tmp_path / "a").exists():
        threading.Event().wait(0.001)
    assert list(results) == [None]


def test_an_error_is_raised_where_its_result_would_be_and_ends_the_iteration() -> None:
    results = refuse_odd.map([0, 2, 3, 4])
    assert next(results) == 0
    assert next(results) == 2
    with pytest.raises(ValueError, match="3 is odd") as caught:
        next(results)
    assert isinstance(caught.value, flame.TaskError)
    assert caught.value.function_name == "refuse_odd"
    assert list(results) == []


def test_errors_can_be_returned_as_values() -> None:
    found = list(refuse_odd.map(range(100), return_exceptions=True))
    assert found[::2] == list(range(0, 100, 2))
    assert [str(error) for error in found[1::2]] == [f"{n} is odd" for n in range(1, 100, 2)]
    assert all(isinstance(error, ValueError) for error in found[1::2])


def test_items_that_are_refs_stand_for_their_values() -> None:
    assert list(double.map([1, flame.put(2), double.remote(3), 4])) == [2, 4, 12, 8]
    assert list(add.starmap([(flame.put(1), 2), (3, double.remote(1))])) == [3, 5]


def test_map_of_a_coroutine_function_returns_what_it_returns() -> None:
    assert list(doubled_later.map(range(10))) == [2 * n for n in range(10)]


def test_map_of_a_function_of_an_importable_module_sends_it_by_name() -> None:
    assert list(flame.remote(os.path.basename).map(["/a/b", "c"])) == ["b", "c"]


def test_map_with_options_uses_them() -> None:
    assert list(double.options(num_cpus=2).map(range(10))) == [2 * n for n in range(10)]


def test_a_timeout_ends_a_map_that_is_not_done() -> None:
    held = gate()

    @flame.remote
    def through(x: Any) -> Any:
        return x

    results = through.map([held.wait.remote(n) for n in range(3)], timeout=0.05)
    with pytest.raises(flame.GetTimeoutError, match="3 of 3 results not ready"):
        next(results)
    held.open.remote()


def test_map_of_nothing_to_iterate_over_is_refused() -> None:
    with pytest.raises(TypeError, match=r"double.map\(\) takes one or more iterables"):
        double.map()
    with pytest.raises(ValueError, match="window must be 1 or more items, not 0"):
        double.map([1], window=0)
    with pytest.raises(TypeError, match="window must be a whole number, not str"):
        double.map([1], window="all")  # type: ignore[arg-type]


def test_map_works_inside_a_task() -> None:
    @flame.remote
    def outer(n: int) -> int:
        return sum(double.map(range(n)))

    assert flame.get(outer.remote(100)) == 9900
