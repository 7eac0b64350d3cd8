"""How many calls share a Flame task."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from flame_remote._flame.batching import BUDGET_SECONDS, MAX_BYTES, PATIENCE_SECONDS, Batcher, Pace

SHORT, LONG, UNKNOWN = 1, 2, 3


@dataclass
class Waiting:
    target_id: int
    size: int = 100
    alone: bool = False


def batcher(instances: int = 2, most_under_way: int | None = None) -> Batcher:
    pace = Pace()
    pace.learn({SHORT: (100, 0.001), LONG: (1, 1.0)})
    return Batcher(pace, instances=instances, most_under_way=most_under_way)


def test_a_lone_call_is_sent_at_once_whether_its_time_is_known_or_not() -> None:
    for target in (SHORT, LONG, UNKNOWN):
        assert batcher().next_size([Waiting(target)], under_way=0, now=0.0) == 1


def test_short_calls_are_shared_out_evenly_among_the_tasks_that_may_be_under_way() -> None:
    calls = [Waiting(SHORT)] * 400
    assert batcher(instances=2).next_size(calls, under_way=0, now=0.0) == 100
    assert batcher(instances=2).next_size(calls[:300], under_way=1, now=0.0) == 100


def test_no_more_calls_share_a_task_than_fit_into_the_budget() -> None:
    pace = Pace()
    pace.learn({SHORT: (1, BUDGET_SECONDS / 4.5)})
    sizes = Batcher(pace, instances=1).next_size([Waiting(SHORT)] * 100, under_way=0, now=0.0)
    assert sizes == 4


def test_no_more_bytes_share_a_task_than_fit_into_a_message() -> None:
    calls = [Waiting(SHORT, size=MAX_BYTES // 3)] * 10
    assert batcher(instances=1).next_size(calls, under_way=0, now=0.0) == 3
    huge = [Waiting(SHORT, size=2 * MAX_BYTES)] * 2
    assert batcher(instances=1).next_size(huge, under_way=0, now=0.0) == 1


def test_short_calls_wait_once_every_instance_has_a_task_and_another_behind_it() -> None:
    assert batcher(instances=2).next_size([Waiting(SHORT)] * 5, under_way=4, now=0.0) == 0


def test_long_calls_are_sent_one_by_one_and_never_wait_for_each_other() -> None:
    assert batcher(instances=2).next_size([Waiting(LONG)] * 5, under_way=500, now=0.0) == 1


@pytest.mark.parametrize("odd", [Waiting(LONG), Waiting(UNKNOWN), Waiting(SHORT, alone=True)])
def test_a_batch_ends_before_a_call_that_must_be_alone(odd: Waiting) -> None:
    calls = [Waiting(SHORT)] * 3 + [odd] + [Waiting(SHORT)] * 3
    assert batcher(instances=1).next_size(calls, under_way=0, now=0.0) == 3
    assert batcher(instances=1).next_size(calls[3:], under_way=0, now=0.0) == 1


def test_of_unknown_calls_few_are_sent_until_the_first_comes_back() -> None:
    fresh = batcher(instances=2)
    calls = [Waiting(UNKNOWN)] * 100
    assert [fresh.next_size(calls, under_way=n, now=0.001 * n) for n in range(6)] == [1] * 4 + [
        0
    ] * 2


def test_of_unknown_calls_more_are_sent_the_longer_nothing_comes_back() -> None:
    fresh = batcher(instances=2)
    calls = [Waiting(UNKNOWN)] * 100
    sent, now = 0, 0.0
    for _ in range(4):
        while fresh.next_size(calls, under_way=sent, now=now):
            sent += 1
        now += 1.01 * PATIENCE_SECONDS
    assert sent == 4 * 2**3
    assert fresh.look_again_after(sent) == PATIENCE_SECONDS


def test_calls_that_wait_for_others_are_alone_however_short_they_were() -> None:
    pace = Pace()
    pace.learn({SHORT: (100, 0.001)})
    pace.note_blocking([SHORT])
    assert Batcher(pace, instances=1).next_size([Waiting(SHORT)] * 9, under_way=0, now=0.0) == 1


def test_an_actor_has_no_more_than_two_tasks_under_way() -> None:
    actor = batcher(instances=1, most_under_way=2)
    assert actor.next_size([Waiting(LONG)] * 3, under_way=1, now=0.0) == 1
    assert actor.next_size([Waiting(LONG)] * 3, under_way=2, now=0.0) == 0
    assert actor.look_again_after(2) is None


def test_the_average_follows_what_is_measured() -> None:
    pace = Pace()
    pace.learn({SHORT: (10, 1.0)})
    assert pace.seconds(SHORT) == pytest.approx(0.1)
    for _ in range(100):
        pace.learn({SHORT: (64, 0.64)})
    assert pace.seconds(SHORT) == pytest.approx(0.01, rel=0.01)
