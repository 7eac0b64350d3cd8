"""Single values, shown as Flame's flmctl shows them."""

from __future__ import annotations

import pytest

from flame_remote._cli import words


@pytest.mark.parametrize(
    ("size_bytes", "shown"),
    [(0, "0B"), (1023, "1023B"), (1024, "1Ki"), (1 << 20, "1Mi"), ((1 << 31) - 1, "1Gi")],
)
def test_memory_is_rounded_down_to_the_largest_unit(size_bytes: int, shown: str) -> None:
    assert words.memory(size_bytes) == shown


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(0, "0s"), (60, "1m"), (90, "1m 30s"), (90_061, "1d 1h 1m 1s"), (-65, "-1m 5s")],
)
def test_durations_leave_out_units_that_are_zero(seconds: int, shown: str) -> None:
    assert words.duration(seconds) == shown


def test_moments_are_told_in_utc() -> None:
    moment = 1_795_471_543_250
    assert words.clock(moment) == "22:05:43"
    assert words.exact_clock(moment) == "22:05:43.250"
    assert words.timestamp(moment) == "2026-11-23T22:05:43.250Z"


def test_resources_are_one_word() -> None:
    assert words.resources(2, 1 << 30, 1) == "cpu=2,mem=1Gi,gpu=1"
