"""What lies in the object cache is deleted when nobody refers to it any more."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import flame_remote as flame

from .conftest import Keys

pytestmark = pytest.mark.usefixtures("session")

OWN = 1  # what workers execute, for as long as the session lasts


@flame.remote
def double(x: Any) -> Any:
    return x * 2


@flame.remote
def total(x: Any) -> float:
    return float(x.sum())


@flame.remote
class Keeper:
    def __init__(self) -> None:
        self.kept: Any = None

    def keep(self, box: Any) -> None:
        self.kept = box

    def total(self) -> float:
        return float(flame.get(self.kept[0]).sum())


LARGE = np.ones(100_000)


def test_a_value_goes_with_its_last_ref(keys: Keys) -> None:
    value = flame.put(LARGE)
    doubled = double.remote(value)
    assert flame.get(total.remote(doubled)) == 200_000
    assert keys.become(OWN + 2)
    del value
    assert keys.become(OWN + 1)
    del doubled
    assert keys.become(OWN)


def test_small_values_and_batches_leave_nothing_there(keys: Keys) -> None:
    assert flame.get([double.remote(n) for n in range(300)])[-1] == 598
    assert flame.get(flame.put("small")) == "small"
    assert keys.become(OWN)


def test_a_large_argument_goes_when_the_call_has_ended(keys: Keys) -> None:
    assert flame.get([total.remote(LARGE * n) for n in range(5)]) == [n * 1e5 for n in range(5)]
    assert keys.become(OWN)


def test_a_result_that_nobody_waits_for_goes_when_it_comes(keys: Keys) -> None:
    dropped, marker = double.remote(LARGE), double.remote(1)
    del dropped
    assert flame.get(marker) == 2
    assert keys.become(OWN)


def test_objects_that_a_task_returns_belong_to_the_program(keys: Keys) -> None:
    @flame.remote
    def make(number: int) -> list[Any]:
        return [flame.put(np.full(100_000, float(n))) for n in range(number)]

    made = flame.get(make.remote(3))
    assert keys.become(OWN + 3)
    assert [flame.get(ref)[0] for ref in made] == [0, 1, 2]
    del made[1:]
    assert keys.become(OWN + 1)
    del made
    assert keys.become(OWN)


def test_a_call_that_a_task_returns_unfinished_belongs_to_the_program(keys: Keys) -> None:
    @flame.remote
    def begin() -> list[Any]:
        return [double.remote(np.ones(100_000))]

    (begun,) = flame.get(begin.remote())
    assert flame.get(begun)[0] == 2
    assert keys.become(OWN + 1)
    del begun
    assert keys.become(OWN)


def test_what_a_task_has_made_and_dropped_is_gone_when_it_ends(keys: Keys) -> None:
    @flame.remote
    def use() -> float:
        ones = np.ones(100_000)
        return float(flame.get(double.remote(ones)).sum() + flame.get(flame.put(ones)).sum())

    assert flame.get(use.remote()) == 300_000
    assert keys.become(OWN)


def test_a_ref_that_an_actor_keeps_keeps_the_value(keys: Keys) -> None:
    keeper, value = Keeper.remote(), flame.put(LARGE)
    flame.get(keeper.keep.remote([value]))
    del value
    flame.get(double.remote(1))
    assert keys.count() == OWN + 1
    assert flame.get(keeper.total.remote()) == 100_000
    flame.get(keeper.keep.remote(None))
    assert keys.become(OWN)


def test_what_an_actor_has_kept_goes_with_it(keys: Keys) -> None:
    keeper = Keeper.remote()
    flame.get(keeper.keep.remote([flame.put(LARGE)]))
    assert keys.become(OWN + 1)
    del keeper
    assert keys.become(OWN)


def test_a_result_that_was_promised_goes_with_its_ref(keys: Keys) -> None:
    @flame.remote
    def first(box: list[Any]) -> float:
        return float(flame.get(box[0])[0])

    pending = double.remote(double.remote(LARGE))
    assert flame.get(first.remote([pending])) == 4
    del pending
    assert keys.become(OWN)


def test_a_cancelled_call_leaves_nothing(keys: Keys) -> None:
    refs = [double.remote(LARGE) for _ in range(3)]
    for ref in refs:
        flame.cancel(ref)
    del ref, refs
    assert flame.get(double.remote(1)) == 2
    assert keys.become(OWN)


def test_large_code_goes_with_its_function(keys: Keys) -> None:
    table = np.ones(50_000)
    function = flame.remote(lambda: float(table.sum()))
    assert flame.get(function.remote()) == 50_000
    assert keys.become(OWN + 1)
    del function
    assert keys.become(OWN)
