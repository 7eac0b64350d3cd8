"""Waiting inside tasks in other ways than get and wait: for what done callbacks bring about."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Future, wait
from typing import Any

import pytest

import flame_remote as flame
from flame_remote.multiprocessing import Pool

pytestmark = pytest.mark.usefixtures("engine_of_file")

# More than the engine has CPUs: all of them wait at the same time.
WAITING = 3


@flame.remote
def square(number: int) -> int:
    return number * number


def squares(number: int) -> list[flame.ObjectRef[int]]:
    return [square.remote(n) for n in range(number)]


def iterate(number: int) -> int:
    return sum(flame.get(ref) for ref in flame.as_completed(squares(number)))


async def iterate_in_coroutine(number: int) -> int:
    return sum([await ref async for ref in flame.as_completed(squares(number))])


def wait_for_futures(number: int) -> int:
    return sum(ref.future().result() for ref in squares(number))


def submit_to_executor(number: int) -> int:
    with flame.Executor() as executor:
        return sum([executor.submit(pow, n, 2).result() for n in range(number)])


def submit_to_small_executor(number: int) -> int:
    with flame.Executor(max_workers=1) as executor:
        futures = [executor.submit(pow, n, 2) for n in range(number)]
        return sum(future.result() for future in futures)


def map_over_pool(number: int) -> int:
    with Pool() as pool:
        return sum(pool.map(lambda n: n * n, range(number)))


def iterate_over_pool(number: int) -> int:
    with Pool() as pool:
        return sum(pool.imap_unordered(lambda n: n * n, range(number)))


@pytest.mark.parametrize(
    "way",
    [
        iterate,
        wait_for_futures,
        submit_to_executor,
        submit_to_small_executor,
        map_over_pool,
        iterate_over_pool,
    ],
)
def test_tasks_on_all_cpus_may_wait_for_others_in(way: Callable[[int], int]) -> None:
    refs = [flame.remote(way).remote(4) for _ in range(WAITING)]
    assert flame.get(refs) == [14] * WAITING


def test_a_coroutine_may_iterate() -> None:
    assert flame.get(flame.remote(iterate_in_coroutine).remote(4)) == 14


def test_a_done_callback_may_get_and_submit() -> None:
    @flame.remote
    def outer() -> int:
        seen: Future[int] = Future()

        def note(ref: flame.ObjectRef[int]) -> None:
            seen.set_result(flame.get(square.remote(flame.get(ref))))

        ref = square.remote(3)
        ref.add_done_callback(note)
        flame.get(ref)
        wait([seen])
        return seen.result()

    assert flame.get(outer.remote()) == 81


def test_an_exception_of_a_done_callback_goes_no_further() -> None:
    @flame.remote
    def outer() -> int:
        ref = square.remote(3)
        ref.add_done_callback(lambda ref: 1 / 0)
        return ref.future().result() + flame.get(square.remote(1))

    assert flame.get(outer.remote()) == 10


def test_threads_of_an_async_actor_may_wait_while_calls_come() -> None:
    @flame.remote
    class Mixed:
        async def wait_in_thread(self) -> int:
            return await asyncio.to_thread(lambda: sum(flame.get(squares(5))))

        async def iterate(self) -> int:
            return await iterate_in_coroutine(5)

        async def answer(self) -> int:
            return 1

    mixed: Any = Mixed.remote()
    waiting = [mixed.wait_in_thread.remote(), mixed.iterate.remote()]
    answers = [flame.get(mixed.answer.remote()) for _ in range(50)]
    assert flame.get(waiting) == [30, 30]
    assert sum(answers) == 50
