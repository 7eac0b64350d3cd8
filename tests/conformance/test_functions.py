"""Functions: what they take, what they may be, what they see."""

from __future__ import annotations

import functools
import os
import random
from collections.abc import Callable
from typing import Any

import pytest

import flame_remote as flame

pytestmark = pytest.mark.usefixtures("engine_of_file")


def test_a_function_returns_its_value() -> None:
    @flame.remote
    def add(a: int, b: int) -> int:
        return a + b

    assert flame.get(add.remote(1, 2)) == 3


def test_a_call_without_arguments_or_result_works() -> None:
    @flame.remote
    def nothing() -> None:
        pass

    assert flame.get(nothing.remote()) is None


def test_keywords_defaults_and_rest_arguments_arrive_as_in_a_call() -> None:
    @flame.remote
    def show(a: int, /, b: int = 2, *more: int, c: int, d: int = 4, **named: int) -> Any:
        return a, b, more, c, d, named

    assert flame.get(show.remote(1, c=3)) == (1, 2, (), 3, 4, {})
    assert flame.get(show.remote(1, 5, 6, 7, c=3, e=8)) == (1, 5, (6, 7), 3, 4, {"e": 8})
    assert flame.get(show.remote(1, b=9, c=3, d=0)) == (1, 9, (), 3, 0, {})


def test_a_keyword_may_have_any_name() -> None:
    @flame.remote
    def collect(**named: int) -> dict[str, int]:
        return named

    named = {"self": 1, "args": 2, "kwargs": 3, "function": 4, "spec": 5, "*": 6, "timeout": 7}
    assert flame.get(collect.remote(**named)) == named


def test_many_calls_return_in_the_order_they_were_asked_for() -> None:
    @flame.remote
    def square(x: int) -> int:
        return x * x

    assert flame.get([square.remote(x) for x in range(500)]) == [x * x for x in range(500)]


def test_options_do_not_change_what_is_computed() -> None:
    @flame.remote(num_cpus=2, max_retries=0)
    def triple(x: int) -> int:
        return 3 * x

    assert flame.get(triple.remote(1)) == 3
    assert flame.get(triple.options(num_cpus=1, name="three times").remote(2)) == 6


def test_a_task_may_take_a_fraction_of_a_cpu_or_none() -> None:
    @flame.remote(num_cpus=0.5)
    def half() -> str:
        return "half"

    @flame.remote(num_cpus=0)
    def none() -> str:
        return "none"

    assert flame.get([half.remote(), none.remote()]) == ["half", "none"]


def test_the_function_itself_still_runs_here() -> None:
    @flame.remote
    def where(x: int) -> tuple[int, int]:
        return x, os.getpid()

    assert where(1) == (1, os.getpid())


def test_a_coroutine_function_returns_what_it_would_return_awaited() -> None:
    import asyncio

    @flame.remote
    async def later(x: int) -> int:
        await asyncio.sleep(0)
        return x + 1

    assert flame.get([later.remote(x) for x in range(10)]) == list(range(1, 11))


def test_a_coroutine_function_may_start_others_and_wait_for_them() -> None:
    import asyncio

    @flame.remote
    async def leaf(x: int) -> int:
        return x

    @flame.remote
    async def both() -> list[int]:
        return await asyncio.gather(leaf.remote(1), leaf.remote(2))

    assert flame.get(both.remote()) == [1, 2]


def test_lambdas_partials_and_builtins_can_be_remote() -> None:
    assert flame.get(flame.remote(lambda x: x + 1).remote(1)) == 2
    assert flame.get(flame.remote(functools.partial(pow, 2)).remote(5)) == 32
    assert flame.get(flame.remote(sum).remote([1, 2, 3])) == 6


def test_a_function_sees_what_it_closes_over() -> None:
    factor = 7

    @flame.remote
    def scaled(x: int) -> int:
        return x * factor

    assert flame.get(scaled.remote(2)) == 14


def test_a_function_may_use_names_that_are_defined_after_it() -> None:
    @flame.remote
    def outer(x: int) -> int:
        return helper(x) + 1

    def helper(x: int) -> int:
        return x * 10

    assert flame.get(outer.remote(2)) == 21


def test_two_functions_may_call_each_other() -> None:
    def is_even(n: int) -> bool:
        return n == 0 or is_odd(n - 1)

    def is_odd(n: int) -> bool:
        return n != 0 and is_even(n - 1)

    assert flame.get(flame.remote(is_even).remote(10)) is True


def test_redefining_a_function_takes_effect() -> None:
    def define(result: int) -> Any:
        @flame.remote
        def answer() -> int:
            return result

        return answer

    assert [flame.get(define(n).remote()) for n in (1, 2, 1)] == [1, 2, 1]


def test_a_task_may_define_remote_functions_and_redefine_them() -> None:
    @flame.remote
    def both() -> list[int]:
        found = []
        for result in (1, 2):

            @flame.remote
            def inner(result: int = result) -> int:
                return result

            found.append(flame.get(inner.remote()))
        return found

    assert flame.get(both.remote()) == [1, 2]


def test_a_task_may_return_a_function_and_a_class() -> None:
    @flame.remote
    def make(base: int) -> tuple[Callable[[int], int], type]:
        class Point:
            def __init__(self, x: int) -> None:
                self.x = x + base

        return (lambda x: x + base), Point

    add, point = flame.get(make.remote(10))
    assert add(1) == 11
    assert point(2).x == 12


def test_a_function_can_be_passed_to_a_task_and_called_there() -> None:
    @flame.remote
    def apply(function: Callable[[int], int], x: int) -> int:
        return function(x)

    assert flame.get(apply.remote(lambda x: -x, 3)) == -3


def test_a_remote_function_can_be_passed_to_a_task_and_called_there() -> None:
    @flame.remote
    def double(x: int) -> int:
        return 2 * x

    @flame.remote
    def call(function: Any, x: int) -> int:
        return flame.get(function.remote(x))

    assert flame.get(call.remote(double, 4)) == 8


def test_what_a_task_does_to_its_arguments_stays_there() -> None:
    @flame.remote
    def spoil(values: list[int], table: dict[str, int]) -> int:
        values.append(4)
        table["new"] = 1
        return len(values)

    values, table = [1, 2, 3], {"old": 0}
    assert flame.get(spoil.remote(values, table)) == 4
    assert (values, table) == ([1, 2, 3], {"old": 0})


def test_what_the_caller_does_to_an_argument_after_the_call_does_not_matter() -> None:
    @flame.remote
    def total(values: list[int], wait: Any) -> int:
        return sum(values)

    from .helpers import gate

    held = gate()
    values = [1, 2, 3]
    ref = total.remote(values, held.wait.remote())
    values.clear()
    held.open.remote()
    assert flame.get(ref) == 6


def test_the_same_object_given_twice_in_one_argument_stays_one_object() -> None:
    @flame.remote
    def are_same(pair: list[list[int]]) -> bool:
        return pair[0] is pair[1]

    shared: list[int] = []
    assert flame.get(are_same.remote([shared, shared])) is True


def test_seeding_the_random_generators_does_not_confuse_anything() -> None:
    @flame.remote
    def seeded(n: int) -> float:
        random.seed(1)
        return random.random() + n

    random.seed(1)
    first = random.random()
    refs = []
    for n in range(20):
        random.seed(1)
        refs.append(seeded.remote(n))
    assert flame.get(refs) == [first + n for n in range(20)]
