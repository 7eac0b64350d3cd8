from __future__ import annotations

import time

from flame_remote._local.spin import AdaptiveSpin


def test_first_wait_looks_for_a_moment() -> None:
    before = time.perf_counter()
    until = AdaptiveSpin().until()
    assert before < until < time.perf_counter() + 0.001


def test_wait_after_a_few_misses_sleeps_at_once_and_looks_again_now_and_then() -> None:
    spin = AdaptiveSpin()
    looked = []
    for _ in range(50):
        looks = spin.until() > 0
        looked.append(looks)
        if looks:
            spin.miss()
    assert looked[:4] == [True, True, True, False]
    assert 3 <= sum(looked[3:]) <= 4


def test_hit_makes_every_wait_look_again() -> None:
    spin = AdaptiveSpin()
    for _ in range(3):
        spin.miss()
    assert spin.until() == 0.0
    spin.hit()
    for _ in range(5):
        assert spin.until() > 0.0
        spin.hit()
