"""Executor: concurrent.futures on the engine's workers."""

from __future__ import annotations

import concurrent.futures
import os
import threading
import time
from pathlib import Path
from typing import Any

import pytest

import flame_remote as flame
from flame_remote import Executor

from .helpers import gate

pytestmark = pytest.mark.usefixtures("engine")


def double(x: int) -> int:
    return x * 2


def divide(a: int, b: int) -> float:
    return a / b


def meet(folder: Path, name: str, number: int) -> int:
    """Wait until as many calls are here."""
    (folder / name).touch()
    while len(list(folder.iterdir())) < number:
        threading.Event().wait(0.001)
    return number


class Account:
    def __init__(self) -> None:
        self.balance = 0

    def after(self, amount: int) -> int:
        return self.balance + amount


def test_submit_returns_a_future_of_the_result() -> None:
    with Executor() as executor:
        future = executor.submit(divide, 6, b=3)
        assert isinstance(future, concurrent.futures.Future)
        assert future.result() == 2
        assert future.done()


def test_anything_that_can_be_called_can_be_submitted() -> None:
    account = Account()
    with Executor() as executor:
        assert executor.submit(lambda: 5).result() == 5
        assert executor.submit(len, "abc").result() == 3
        assert executor.submit(flame.remote(double), 2).result() == 4
        # The object travels as it is at the call, each time.
        assert executor.submit(account.after, 1).result() == 1
        account.balance = 10
        assert executor.submit(account.after, 1).result() == 11


def test_an_error_is_that_of_the_call() -> None:
    with Executor() as executor:
        future = executor.submit(divide, 1, 0)
        with pytest.raises(ZeroDivisionError):
            future.result()
        assert isinstance(executor.submit(divide, 1).exception(), TypeError)


def test_futures_work_with_wait_and_as_completed_of_the_standard_library() -> None:
    with Executor() as executor:
        futures = [executor.submit(double, n) for n in range(50)]
        done, rest = concurrent.futures.wait(futures, timeout=60)
        assert (len(done), len(rest)) == (50, 0)
        again = [executor.submit(double, n) for n in range(50)]
        values = [future.result() for future in concurrent.futures.as_completed(again)]
        assert sorted(values) == [2 * n for n in range(50)]


@pytest.mark.parametrize("chunksize", [1, 3, 1000])
def test_map_keeps_the_order_and_ends_with_the_shortest_iterable(chunksize: int) -> None:
    with Executor() as executor:
        results = executor.map(divide, range(0, 20, 2), [2] * 7, chunksize=chunksize)
        assert list(results) == list(range(7))
        with pytest.raises(ZeroDivisionError):
            list(executor.map(divide, [1, 1], [1, 0], chunksize=chunksize))


def test_what_was_submitted_is_done_before_a_with_block_ends() -> None:
    with Executor() as executor:
        futures = [executor.submit(double, n) for n in range(200)]
        results = executor.map(double, range(10))
    assert all(future.done() for future in futures)
    assert list(results) == [2 * n for n in range(10)]


def test_after_shutdown_nothing_is_accepted() -> None:
    executor = Executor()
    executor.shutdown()
    executor.shutdown()
    with pytest.raises(RuntimeError, match="cannot schedule new futures after shutdown"):
        executor.submit(double, 1)


@pytest.mark.parametrize("engine", ["embedded"], indirect=True)
def test_calls_that_have_not_begun_can_be_cancelled_and_those_that_run_cannot() -> None:
    executor = Executor()
    running = [executor.submit(time.sleep, 60) for _ in range(2)]
    while not all(future.running() for future in running):
        threading.Event().wait(0.001)
    waiting = executor.submit(double, 1)
    assert waiting.cancel()
    assert waiting.cancelled()
    assert not running[0].cancel()
    more = [executor.submit(double, n) for n in range(5)]
    executor.shutdown(wait=False, cancel_futures=True)
    assert all(future.cancelled() for future in more)
    assert not any(future.cancelled() for future in running)


@pytest.mark.parametrize("engine", ["embedded"], indirect=True)
def test_no_more_calls_run_at_a_time_than_were_asked_for() -> None:
    held = gate()
    with Executor(1) as executor:
        first = executor.submit(double, held.wait.remote(3))
        second = executor.submit(double, 1)
        assert concurrent.futures.wait([second], timeout=0.05).not_done == {second}
        held.open.remote()
        assert first.result(60) == 6
        assert second.result(60) == 2


@pytest.mark.parametrize("engine", ["embedded"], indirect=True)
def test_more_calls_than_cpus_can_run_at_a_time(tmp_path: Path) -> None:
    with Executor(6) as executor:
        futures = [executor.submit(meet, tmp_path, name, 6) for name in "abcdef"]
        assert [future.result(60) for future in futures] == [6] * 6


_level = 0


def _set_level(value: int) -> None:
    global _level
    _level = value


def _get_level(_: Any) -> int:
    return _level


def _refuse() -> None:
    raise ValueError("no")


def test_the_initializer_runs_before_the_first_call_in_each_worker() -> None:
    with Executor(initializer=_set_level, initargs=(7,)) as executor:
        assert set(executor.map(_get_level, range(20))) == {7}


def test_a_failing_initializer_fails_the_calls() -> None:
    with (
        Executor(initializer=_refuse) as executor,
        pytest.raises(
            concurrent.futures.BrokenExecutor, match=r"initializer .* ValueError\('no'\)"
        ),
    ):
        executor.submit(double, 1).result()


@pytest.mark.parametrize("engine", ["embedded"], indirect=True)
def test_a_worker_that_dies_fails_its_own_call_only() -> None:
    with Executor() as executor:
        dying = executor.submit(os._exit, 3)
        assert executor.submit(double, 2).result() == 4
        with pytest.raises(flame.WorkerCrashedError):
            dying.result()


def test_settings_that_make_no_sense_are_refused() -> None:
    with pytest.raises(ValueError, match="max_workers must be greater than 0"):
        Executor(0)
    with pytest.raises(TypeError, match="initializer must be a callable"):
        Executor(initializer=3)  # type: ignore[arg-type]
    with Executor() as executor, pytest.raises(ValueError, match="chunksize must be >= 1"):
        executor.map(double, [1], chunksize=0)
