"""Calls that return several refs, or none."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

import flame_remote as flame

from .helpers import gate

pytestmark = pytest.mark.usefixtures("engine_of_file")


def returning(number: int, **options: Any) -> Any:
    return lambda function: flame.remote(num_returns=number, **options)(function)


def test_a_tuple_becomes_a_ref_for_each_value() -> None:
    @returning(3)
    def split(text: str) -> Any:
        return tuple(text.split())

    refs = split.remote("a b c")
    assert isinstance(refs, list)
    assert flame.get(refs) == ["a", "b", "c"]
    assert flame.get(refs[1]) == "b"


def test_the_number_can_be_said_for_one_call() -> None:
    @flame.remote
    def pair() -> Any:
        return [1, 2]

    assert flame.get(pair.remote()) == [1, 2]
    assert flame.get(pair.options(num_returns=2).remote()) == [1, 2]
    (one,) = [pair.options(num_returns=1).remote()]
    assert flame.get(one) == [1, 2]


def test_a_call_that_returns_nothing_returns_no_ref_and_runs_all_the_same() -> None:
    @flame.remote
    class Heard:
        def __init__(self) -> None:
            self.values: list[int] = []

        def hear(self, value: int) -> None:
            self.values.append(value)

        def said(self) -> list[int]:
            return self.values

    @returning(0)
    def tell(heard: Any, value: int) -> Any:
        flame.get(heard.hear.remote(value))
        return "dropped"

    heard = Heard.remote()
    assert tell.remote(heard, 7) is None
    assert heard.hear.options(num_returns=0).remote(8) is None
    while len(flame.get(heard.said.remote())) < 2:
        pass
    assert sorted(flame.get(heard.said.remote())) == [7, 8]


@pytest.mark.parametrize(
    ("value", "came"),
    [((1,), "1 value"), ((1, 2, 3), "3 values"), (5, "one int"), ("ab", "one str")],
)
def test_another_number_of_values_is_an_error_that_names_the_function(
    value: Any, came: str
) -> None:
    @returning(2)
    def pair(value: Any) -> Any:
        return value

    for ref in pair.remote(value):
        with pytest.raises(flame.ReturnCountError) as caught:
            flame.get(ref)
        assert str(caught.value) == (
            f"pair() returned {came}, but num_returns=2 asks for a tuple, list or iterator of "
            "exactly 2"
        )


def test_the_values_of_an_iterator_are_taken_and_no_more_than_it_takes_to_see_too_many() -> None:
    @returning(2)
    def first(number: int) -> Any:
        def endless() -> Iterator[int]:
            yield from range(number)

        return endless()

    assert flame.get(first.remote(2)) == [0, 1]
    with pytest.raises(flame.ReturnCountError, match="more than 2"):
        flame.get(first.remote(10**9))
    with pytest.raises(flame.ReturnCountError, match="1 value,"):
        flame.get(first.remote(1))


def test_an_error_is_raised_by_each_ref() -> None:
    @returning(2)
    def fails() -> Any:
        raise ValueError("neither")

    for ref in fails.remote():
        with pytest.raises(ValueError, match="neither"):
            flame.get(ref)


def test_parts_are_arguments_of_other_calls_before_they_are_there() -> None:
    @returning(2)
    def split(value: Any) -> Any:
        return value + 1, [value] * 3

    @flame.remote
    def join(number: int, values: list[int], inside: list[Any]) -> Any:
        return number, values, flame.get(inside)

    opened = gate()
    number, values = split.remote(opened.wait.remote(4))
    joined = join.remote(number, values, [values, number])
    assert flame.wait([number, values, joined], timeout=0) == ([], [number, values, joined])
    flame.get(opened.open.remote())
    assert flame.get(joined) == (5, [4, 4, 4], [[4, 4, 4], 5])


def test_a_part_lives_as_long_as_its_own_ref() -> None:
    @returning(2)
    def large() -> Any:
        return bytearray(1 << 20), bytearray(b"x" * (1 << 20))

    first, second = large.remote()
    del first
    assert flame.get(second) == b"x" * (1 << 20)


def test_to_cancel_one_part_cancels_the_call() -> None:
    @returning(2)
    def pair(value: Any) -> Any:
        return value, value

    opened = gate()
    first, second = pair.remote(opened.wait.remote())
    assert flame.cancel(second)
    for ref in (first, second):
        with pytest.raises(flame.TaskCancelledError):
            flame.get(ref)


def test_tasks_and_methods_and_coroutines_can_return_several() -> None:
    @flame.remote
    class Pairs:
        def pair(self, value: int) -> Any:
            return value, -value

    @flame.remote
    class Later:
        async def pair(self, value: int) -> Any:
            return value, -value

    @returning(2)
    async def pair(value: int) -> Any:
        return value, -value

    @flame.remote
    def nested(value: int) -> Any:
        first, second = pair.remote(value)
        return flame.get([second, first])

    assert flame.get(Pairs.remote().pair.options(num_returns=2).remote(1)) == [1, -1]
    assert flame.get(Later.remote().pair.options(num_returns=2).remote(2)) == [2, -2]
    assert flame.get(nested.remote(3)) == [-3, 3]


def test_refs_inside_a_part_stay_alive_in_it() -> None:
    @returning(2)
    def wrap() -> Any:
        return [flame.put([1])], [flame.put([2])]

    first, second = wrap.remote()
    assert flame.get(flame.get(second)[0]) == [2]
    assert flame.get(flame.get(first)[0]) == [1]


def test_map_gives_one_result_for_each_item_whatever_the_number() -> None:
    @returning(2)
    def pair(value: int) -> Any:
        return value, -value

    assert list(pair.map(range(3))) == [(0, 0), (1, -1), (2, -2)]


def test_a_call_that_takes_a_part_fails_with_the_error_of_the_one_that_was_to_make_it() -> None:
    @flame.remote(num_returns=2)
    def fail() -> None:
        raise ValueError("no parts")

    first, second = fail.remote()
    taking: Any = flame.remote(lambda value: value)
    again = taking.remote(taking.remote(second))
    with pytest.raises(ValueError, match="no parts"):
        flame.get(taking.remote(first))
    with pytest.raises(ValueError, match="no parts"):
        flame.get(again)
