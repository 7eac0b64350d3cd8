"""The store keeps to its budget: what does not fit lies in a file that has no name."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import flame_remote as flame
from flame_remote._current import current_engine

from ..conftest import wait_until

MIB = 1 << 20


@pytest.fixture(autouse=True)
def small_store() -> Iterator[None]:
    flame.init(num_cpus=2, store_bytes=40 * MIB)
    yield
    flame.shutdown()


def array(number: int) -> np.ndarray:
    return np.full(MIB, number, dtype=np.int64)  # 8 MiB


def test_puts_of_four_times_the_budget_are_all_still_there() -> None:
    refs = [flame.put(array(number)) for number in range(20)]
    assert [int(flame.get(ref)[-1]) for ref in refs] == list(range(20))


def test_tasks_read_spilled_values_and_may_change_their_own_view() -> None:
    refs = [flame.put(array(number)) for number in range(12)]

    @flame.remote
    def change(values: np.ndarray) -> int:
        values += 1
        return int(values.sum()) // MIB

    assert flame.get([change.remote(ref) for ref in refs]) == list(range(1, 13))
    assert [int(flame.get(ref)[0]) for ref in refs] == list(range(12))


def test_results_of_tasks_spill_too() -> None:
    @flame.remote
    def make(number: int) -> np.ndarray:
        return np.full(MIB, number, dtype=np.int64)

    refs = [make.remote(number) for number in range(20)]
    assert [int(flame.get(ref)[7]) for ref in refs] == list(range(20))


def test_a_value_that_is_being_read_stays_as_it_is_while_others_are_stored() -> None:
    ref = flame.put(array(3))
    view = flame.get(ref)
    others = [flame.put(array(number)) for number in range(10)]
    assert int(view.sum()) == 3 * MIB
    assert int(flame.get(others[0])[0]) == 0


def test_a_value_larger_than_the_budget_is_refused_and_the_store_works_on() -> None:
    with pytest.raises(flame.StoreFullError) as caught:
        flame.put(np.zeros(6 * MIB))
    assert caught.value.needed_bytes >= 48 * MIB
    assert flame.get(flame.put(array(1)))[0] == 1


def test_a_result_larger_than_the_budget_fails_that_task_alone() -> None:
    @flame.remote
    def large() -> np.ndarray:
        return np.zeros(6 * MIB)

    with pytest.raises(flame.StoreFullError):
        flame.get(large.remote())
    assert flame.get(flame.put(2)) == 2


def test_memory_goes_back_while_the_driver_calls_nothing() -> None:
    engine: Any = current_engine()
    segments = engine._core.segments
    ref = flame.put(array(1))
    assert segments.live_bytes > 8 * MIB
    del ref
    assert wait_until(lambda: segments.live_bytes == 0)
