from __future__ import annotations

from flame_remote._scheduling.pace import BUDGET_SECONDS, MAX_WINDOW, Pace


def pace_of(seconds: float, calls: int = 1) -> Pace:
    pace = Pace()
    pace.learn({1: (calls, seconds * calls)})
    return pace


def test_target_that_was_never_measured_gets_one_call() -> None:
    assert Pace().window(1) == 1
    assert pace_of(0.0).window(2) == 1


def test_slow_target_gets_one_call() -> None:
    assert pace_of(BUDGET_SECONDS * 100).window(1) == 1


def test_short_target_gets_as_many_calls_as_fit_into_the_budget() -> None:
    assert pace_of(BUDGET_SECONDS / 100).window(1) in (97, 98, 99)  # a microsecond each is ours


def test_window_has_an_end_however_short_the_calls_are() -> None:
    assert pace_of(0.0).window(1) == MAX_WINDOW


def test_many_calls_measured_together_count_as_many() -> None:
    assert pace_of(BUDGET_SECONDS / 10, calls=1000).window(1) == 9


def test_average_follows_what_changes() -> None:
    pace = pace_of(0.0)
    for _ in range(1000):
        pace.learn({1: (1, BUDGET_SECONDS)})
    assert pace.window(1) == 1
    pace.learn({1: (100_000, 0.0)})
    assert pace.window(1) > 500


def test_one_slow_call_among_many_does_not_close_the_window() -> None:
    pace = pace_of(0.00001, calls=1000)
    before = pace.window(1)
    pace.learn({1: (1, 0.001)})
    assert before > pace.window(1) > before / 5
