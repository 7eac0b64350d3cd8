"""flame_remote.multiprocessing.Pool: shaped like multiprocessing.Pool."""

from __future__ import annotations

import itertools
import multiprocessing
import os
import threading
import time
from concurrent.futures import CancelledError
from typing import Any

import pytest

import flame_remote as flame
from flame_remote.multiprocessing import Pool

from .helpers import gate
from .local_engines import engine, nothing_is_left_behind, only_embedded  # noqa: F401

pytestmark = pytest.mark.usefixtures("engine")


def double(x: int) -> int:
    return x * 2


def divide(a: int, b: int = 1) -> float:
    return a / b


def reciprocal(x: int) -> float:
    return 1 / x


def test_apply_calls_a_function_with_its_arguments() -> None:
    with Pool(2) as pool:
        assert pool.apply(divide, (6,), {"b": 3}) == 2
        assert pool.apply(lambda: 5) == 5
        with pytest.raises(ZeroDivisionError):
            pool.apply(divide, (1, 0))


def test_an_asynchronous_result_tells_how_the_call_ended() -> None:
    with Pool(2) as pool:
        good, bad = pool.apply_async(double, (2,)), pool.apply_async(divide, (1, 0))
        good.wait(60)
        bad.wait(60)
        assert (good.ready(), good.successful(), good.get()) == (True, True, 4)
        assert (bad.ready(), bad.successful()) == (True, False)
        with pytest.raises(ZeroDivisionError):
            bad.get()


@only_embedded
def test_a_result_that_is_not_there_in_time_is_a_timeout() -> None:
    held = gate()
    with Pool(2) as pool:
        result = pool.apply_async(double, (held.wait.remote(3),))
        with pytest.raises(multiprocessing.TimeoutError):
            result.get(0.05)
        assert not result.ready()
        with pytest.raises(ValueError, match="not ready"):
            result.successful()
        held.open.remote()
        assert result.get(60) == 6


@pytest.mark.parametrize("chunksize", [None, 1, 7, 1000])
def test_map_and_starmap_return_all_results_in_order(chunksize: int | None) -> None:
    with Pool(2) as pool:
        assert pool.map(double, range(50), chunksize) == [2 * n for n in range(50)]
        rows = zip(range(50), itertools.repeat(2), strict=False)
        assert pool.starmap(divide, rows, chunksize) == [n / 2 for n in range(50)]
        assert pool.map(double, [], chunksize) == []


def test_map_raises_the_error_of_a_call() -> None:
    with Pool(2) as pool, pytest.raises(ZeroDivisionError):
        pool.map(reciprocal, [1, 2, 0, 4])


def test_callbacks_get_the_result_or_the_error() -> None:
    seen: list[Any] = []
    with Pool(2) as pool:
        pool.map_async(double, range(4), callback=seen.append).wait(60)
        pool.starmap_async(divide, [(1, 1)], callback=seen.append).wait(60)
        failing = pool.apply_async(divide, (1, 0), callback=seen.append, error_callback=seen.append)
        failing.wait(60)
    assert seen[:2] == [[0, 2, 4, 6], [1.0]]
    assert isinstance(seen[2], ZeroDivisionError)


@pytest.mark.parametrize("chunksize", [1, 6])
def test_imap_yields_results_in_order_and_imap_unordered_each_once(chunksize: int) -> None:
    with Pool(2) as pool:
        assert list(pool.imap(double, iter(range(40)), chunksize)) == [2 * n for n in range(40)]
        unordered = list(pool.imap_unordered(double, range(40), chunksize))
        assert sorted(unordered) == [2 * n for n in range(40)]


def test_an_error_in_imap_is_raised_in_its_place_and_the_rest_follows() -> None:
    with Pool(2) as pool:
        results = pool.imap(reciprocal, [1, 0, 2])
        assert next(results) == 1
        with pytest.raises(ZeroDivisionError):
            next(results)
        assert list(results) == [0.5]


def test_an_error_of_the_iterable_itself_is_raised_in_its_place() -> None:
    def broken() -> Any:
        yield 1
        raise KeyError("no more")

    with Pool(2) as pool:
        results = pool.imap(double, broken())
        assert next(results) == 2
        with pytest.raises(KeyError, match="no more"):
            next(results)


def test_what_imap_was_given_is_done_before_join_returns(tmp_path: Any) -> None:
    pool = Pool(2)
    pool.imap_unordered(lambda n: (tmp_path / str(n)).touch(), range(60))
    pool.close()
    pool.join()
    assert len(list(tmp_path.iterdir())) == 60


def test_a_closed_pool_takes_no_calls_and_an_open_one_cannot_be_joined() -> None:
    pool = Pool(2)
    with pytest.raises(ValueError, match="still running"):
        pool.join()
    result = pool.apply_async(double, (1,))
    pool.close()
    for refused in (pool.apply, pool.apply_async):
        with pytest.raises(ValueError, match="Pool not running"):
            refused(double, (1,))
    with pytest.raises(ValueError, match="Pool not running"):
        pool.imap(double, [1])
    pool.join()
    assert result.get() == 2


@only_embedded
def test_terminate_cancels_what_runs_and_what_waits() -> None:
    with Pool(2) as pool:
        results = [pool.apply_async(time.sleep, (60,)) for _ in range(5)]
        pool.imap(double, itertools.count())
    pool.join()
    for result in results:
        with pytest.raises((CancelledError, flame.TaskCancelledError)):
            result.get(60)


@only_embedded
def test_a_worker_that_dies_fails_its_own_call_only() -> None:
    with Pool(2) as pool:
        dying = pool.apply_async(os._exit, (3,))
        assert pool.apply(double, (2,)) == 4
        with pytest.raises(flame.WorkerCrashedError):
            dying.get(60)


_level = 0


def _set_level(value: int) -> None:
    global _level
    _level = value


def _get_level(_: Any) -> int:
    return _level


def test_the_initializer_runs_before_the_first_call_in_each_worker() -> None:
    with Pool(2, _set_level, (7,)) as pool:
        assert set(pool.map(_get_level, range(20), 1)) == {7}


@only_embedded
def test_no_more_calls_run_at_a_time_than_there_are_processes() -> None:
    held = gate()
    with Pool(1) as pool:
        first = pool.apply_async(double, (held.wait.remote(3),))
        second = pool.apply_async(double, (1,))
        assert not threading.Event().wait(0.05)
        assert not second.ready()
        held.open.remote()
        assert (first.get(60), second.get(60)) == (6, 2)


@only_embedded
def test_a_process_is_replaced_after_so_many_calls() -> None:
    with Pool(1, maxtasksperchild=2) as pool:
        pids = [pool.apply(os.getpid) for _ in range(6)]
    assert all(pids.count(pid) == 2 for pid in pids)


def test_settings_that_make_no_sense_are_refused() -> None:
    with pytest.raises(ValueError, match="Number of processes must be at least 1"):
        Pool(0)
    with pytest.raises(ValueError, match="maxtasksperchild must be a positive int"):
        Pool(2, maxtasksperchild=0)
    with Pool(2) as pool, pytest.raises(ValueError, match="chunksize must be 1 or more items"):
        pool.map(double, [1], 0)
