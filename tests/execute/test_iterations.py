"""Generators of an instance, as its worker sees them."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from flame_remote._execute.iterations import (
    BEGIN,
    CLOSE,
    NUMBER,
    RUN_OUT,
    STEP,
    Iterations,
    call_name,
    is_of_iteration,
    method_in,
)


class Counting:
    """Its generators wait in the middle of an item, if they are told to."""

    def __init__(self) -> None:
        self.inside = threading.Event()
        self.go_on = threading.Event()
        self.closed = threading.Event()

    def count(self, number: int, *, stops: bool = False) -> Iterator[int]:
        try:
            for item in range(number):
                if stops:
                    self.inside.set()
                    self.go_on.wait()
                yield item
        finally:
            self.closed.set()

    async def count_later(self, number: int) -> AsyncIterator[int]:
        for item in range(number):
            yield item


def do(
    iterations: Iterations, instance: Any, verb: str, method: str, *args: Any, **more: Any
) -> Any:
    return iterations.find(instance, call_name(verb, method))(*args, **more)


def test_names_of_calls_can_be_told_from_those_of_methods() -> None:
    name = call_name(STEP, "count")
    assert is_of_iteration(name)
    assert not is_of_iteration("count")
    assert method_in(name) == method_in("count") == "count"
    assert Iterations().find([1, 2], "count")(2) == 1


def test_steps_make_items_until_there_are_none() -> None:
    iterations, counting = Iterations(), Counting()
    do(iterations, counting, BEGIN, "count", 2, **{NUMBER: 7})
    assert [do(iterations, counting, STEP, "count", 7) for _ in range(4)] == [
        (True, 0),
        (True, 1),
        (False, None),
        (False, None),
    ]


def test_what_was_run_out_comes_step_by_step() -> None:
    iterations, counting = Iterations(), Counting()
    do(iterations, counting, BEGIN, "count", 2, **{NUMBER: 7})
    do(iterations, counting, RUN_OUT, "count", 7)
    assert counting.closed.is_set()
    assert [do(iterations, counting, STEP, "count", 7)[0] for _ in range(3)] == [True, True, False]


def test_closing_cleans_up_and_may_come_twice() -> None:
    iterations, counting = Iterations(), Counting()
    do(iterations, counting, BEGIN, "count", 9, **{NUMBER: 7})
    do(iterations, counting, STEP, "count", 7)
    do(iterations, counting, CLOSE, "count", 7)
    assert counting.closed.is_set()
    do(iterations, counting, CLOSE, "count", 7)
    assert do(iterations, counting, STEP, "count", 7) == (False, None)


def test_closing_while_an_item_is_made_in_another_thread_cleans_up_after_it() -> None:
    iterations, counting = Iterations(), Counting()
    do(iterations, counting, BEGIN, "count", 9, stops=True, **{NUMBER: 7})
    steps: list[Any] = []
    thread = threading.Thread(
        target=lambda: steps.append(do(iterations, counting, STEP, "count", 7))
    )
    thread.start()
    counting.inside.wait()
    do(iterations, counting, CLOSE, "count", 7)
    assert not counting.closed.is_set()
    counting.go_on.set()
    thread.join()
    assert steps == [(True, 0)]
    assert counting.closed.is_set()


def test_coroutines_make_the_items_of_an_async_generator() -> None:
    async def collect() -> list[Any]:
        iterations, counting = Iterations(), Counting()
        do(iterations, counting, BEGIN, "count_later", 2, **{NUMBER: 7})
        found = [await do(iterations, counting, STEP, "count_later", 7) for _ in range(3)]
        assert do(iterations, counting, STEP, "count_later", 7) == (False, None)
        return found

    assert asyncio.run(collect()) == [(True, 0), (True, 1), (False, None)]


def test_a_method_that_is_no_generator_by_now_is_an_error_of_the_call() -> None:
    class Changed:
        def count(self) -> int:
            return 3

    iterations = Iterations()
    with pytest.raises(TypeError, match="not iterable"):
        do(iterations, Changed(), BEGIN, "count", **{NUMBER: 7})
