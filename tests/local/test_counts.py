from __future__ import annotations

import random
from collections import deque

import pytest

from flame_remote._local.counts import LocalCounts
from flame_remote._local.messages import Counts


@pytest.fixture
def events() -> deque[int]:
    """What refs append: minus their object's id when they are born, the id when they die."""
    return deque()


@pytest.fixture
def counts(events: deque[int]) -> LocalCounts:
    return LocalCounts(events)


def test_nothing_happened_is_nothing_to_tell(counts: LocalCounts) -> None:
    assert counts.changes() is None


def test_ref_that_comes_and_goes_is_never_mentioned(
    counts: LocalCounts, events: deque[int]
) -> None:
    for _ in range(3):
        events += [-5, -5, 5, 5]
        assert counts.changes() is None


def test_ref_that_stays_is_mentioned_once(counts: LocalCounts, events: deque[int]) -> None:
    events += [-5]
    assert counts.changes() == Counts([5], [], [])
    events += [-5, 5, -5]
    assert counts.changes() is None


def test_last_ref_that_goes_is_mentioned(counts: LocalCounts, events: deque[int]) -> None:
    events += [-5, -5]
    counts.changes()
    events += [5]
    assert counts.changes() is None
    events += [5]
    assert counts.changes() == Counts([], [5], [])


def test_ref_that_goes_and_comes_back_meanwhile_is_not_mentioned(
    counts: LocalCounts, events: deque[int]
) -> None:
    events += [-5]
    counts.changes()
    events += [5, -5]
    assert counts.changes() is None


def test_object_can_be_held_again_after_it_was_dropped(
    counts: LocalCounts, events: deque[int]
) -> None:
    for _ in range(2):
        events += [-5]
        assert counts.changes() == Counts([5], [], [])
        events += [5]
        assert counts.changes() == Counts([], [5], [])


def test_object_made_here_is_only_mentioned_when_it_is_dropped(
    counts: LocalCounts, events: deque[int]
) -> None:
    counts.own(7)
    assert counts.changes() is None
    events += [-7, 7, 7]
    assert counts.changes() == Counts([], [7], [])


def test_values_that_are_read_no_more_are_told_in_order(counts: LocalCounts) -> None:
    counts.unpinned += [3, 4, 3]
    assert counts.changes() == Counts([], [], [3, 4, 3])
    assert counts.changes() is None


def test_dropped_objects_leave_no_trace(counts: LocalCounts, events: deque[int]) -> None:
    for object_id in range(1, 1000):
        counts.own(object_id)
        events.append(object_id)
    counts.changes()
    assert (counts._live, counts._told) == ({}, set())


@pytest.mark.parametrize("seed", range(20))
def test_what_was_told_is_always_what_lives(seed: int) -> None:
    chance = random.Random(seed)
    events: deque[int] = deque()
    counts = LocalCounts(events)
    living: list[int] = []
    known_to_driver: set[int] = set()
    made = iter(range(100, 1_000_000))
    for _ in range(2000):
        match chance.randrange(4):
            case 0:
                living.append(object_id := next(made))
                counts.own(object_id)
                known_to_driver.add(object_id)
            case 1:
                living.append(object_id := chance.randrange(1, 20))
                events.append(-object_id)
            case 2 if living:
                events.append(living.pop(chance.randrange(len(living))))
            case _:
                told = counts.changes() or Counts([], [], [])
                assert known_to_driver.isdisjoint(told.held)
                known_to_driver.update(told.held)
                assert known_to_driver.issuperset(told.dropped)
                known_to_driver.difference_update(told.dropped)
                assert known_to_driver == set(living)
