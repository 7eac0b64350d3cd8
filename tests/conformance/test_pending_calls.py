"""max_pending_calls: how many calls of a handle may not have ended."""

from __future__ import annotations

import threading
from typing import Any

import pytest

import flame_remote as flame

pytestmark = pytest.mark.usefixtures("engine")


@flame.remote(max_pending_calls=2)
class Door:
    def __init__(self) -> None:
        self.passed: list[Any] = []

    def enter(self, who: Any) -> Any:
        self.passed.append(who)
        return who

    def count(self) -> int:
        return len(self.passed)


def test_one_call_too_many_is_refused_at_once_and_the_error_says_what_to_do(engine: str) -> None:
    from .helpers import gate

    held, door = gate(), Door.remote()
    late = held.wait.remote("late")
    refs = [door.enter.remote(late), door.enter.remote("second")]
    with pytest.raises(flame.PendingCallsLimitError) as caught:
        door.enter.remote("third")
    assert str(caught.value) == (
        "Door.enter() was not called: 2 calls through this handle have not ended, and "
        "max_pending_calls=2 allows no more; get() or wait() for some of them first, "
        "or raise the limit"
    )
    held.open.remote()
    assert flame.get(refs) == ["late", "second"]
    assert flame.get(door.count.remote()) == 2


def test_calls_that_have_ended_make_room_for_others() -> None:
    door = Door.remote()
    for n in range(20):
        assert flame.get(door.enter.remote(n)) == n


def test_calls_without_results_and_with_several_count_too() -> None:
    from .helpers import gate

    held, door = gate(), Door.remote()
    late = held.wait.remote("ab")
    assert door.enter.options(num_returns=0).remote(late) is None  # type: ignore[func-returns-value]
    parts: Any = door.enter.options(num_returns=2).remote(("a", "b"))
    with pytest.raises(flame.PendingCallsLimitError):
        door.count.remote()
    held.open.remote()
    assert flame.get(list(parts)) == ["a", "b"]
    assert flame.get(door.count.remote()) == 2


def test_each_copy_of_a_handle_elsewhere_counts_its_own_calls() -> None:
    @flame.remote
    def call(door: Any) -> list[Any]:
        first = flame.get(door.enter.remote("there"))
        return [first, flame.get(door.count.remote())]

    door = Door.remote()
    assert flame.get(call.remote(door)) == ["there", 1]


def test_a_call_that_could_not_be_made_takes_no_place() -> None:
    door = Door.remote()
    for _ in range(3):
        with pytest.raises(flame.SerializationError):
            door.enter.remote(threading.Lock())
    assert flame.get([door.enter.remote(1), door.enter.remote(2)]) == [1, 2]


@pytest.mark.parametrize("unlimited", [None, -1])
def test_none_and_minus_one_mean_no_limit(unlimited: Any) -> None:
    door = Door.options(max_pending_calls=unlimited).remote()
    assert flame.get([door.enter.remote(n) for n in range(50)]) == list(range(50))


def test_a_handle_without_a_limit_has_nothing_to_count() -> None:
    door = Door.options(max_pending_calls=-1).remote()
    assert door._flame_terms is None
    limited = flame.get(flame.put([Door.options(max_pending_calls=3).remote()]))[0]
    assert limited._flame_terms.pending.limit == 3


@pytest.mark.parametrize(("wrong", "error"), [(0, ValueError), (-2, ValueError), ("2", TypeError)])
def test_a_limit_that_is_none_is_refused(wrong: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match="max_pending_calls must be"):
        Door.options(max_pending_calls=wrong)
