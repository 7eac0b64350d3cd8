from __future__ import annotations

from flame_remote._scheduling.clock import Clock


def test_no_tick_is_due_until_somebody_asks() -> None:
    assert Clock().next_tick is None


def test_earliest_wish_counts() -> None:
    clock = Clock()
    clock.wake_at(5.0)
    clock.wake_at(7.0)
    assert clock.next_tick == 5.0
    clock.wake_at(3.0)
    assert clock.next_tick == 3.0
