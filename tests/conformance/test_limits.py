"""Calls that may take only so long, and calls that come before others."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest

import flame_remote as flame

pytestmark = pytest.mark.usefixtures("engine")

SOON = 0.05
LONG = 30.0  # seconds that nobody waits for


@flame.remote
def wait_a_little(seconds: float = 4 * SOON) -> str:
    time.sleep(seconds)
    return "rested"


def test_a_call_that_runs_too_long_ends_with_an_error_that_says_so() -> None:
    with pytest.raises(flame.TaskTimeoutError) as caught:
        flame.get(wait_a_little.options(timeout=SOON).remote())
    assert isinstance(caught.value, TimeoutError)
    assert str(caught.value) == (
        "wait_a_little() was ended: it ran for longer than its timeout of 0.05 s"
    )


def test_a_call_that_is_in_time_is_none_the_wiser() -> None:
    quick = wait_a_little.options(timeout=LONG, deadline=LONG)
    assert flame.get([quick.remote(0.0) for _ in range(20)]) == ["rested"] * 20


def test_a_coroutine_can_run_too_long() -> None:
    @flame.remote(timeout=SOON)
    async def later() -> None:
        await asyncio.sleep(4 * SOON)

    with pytest.raises(flame.TaskTimeoutError):
        flame.get(later.remote())


def test_methods_can_run_too_long_and_those_behind_them_still_run() -> None:
    @flame.remote
    class Sleeper:
        def sleep(self, seconds: float) -> str:
            time.sleep(seconds)
            return "awake"

    sleeper = Sleeper.remote()
    late = sleeper.sleep.options(timeout=SOON).remote(4 * SOON)
    after = sleeper.sleep.remote(0)
    with pytest.raises(flame.TaskTimeoutError, match=r"Sleeper\.sleep\(\)"):
        flame.get(late)
    assert flame.get(after) == "awake"


def test_a_deadline_covers_the_time_before_a_call_runs_and_the_time_that_it_does() -> None:
    with pytest.raises(flame.TaskDeadlineError) as caught:
        flame.get(wait_a_little.options(deadline=SOON).remote())
    assert isinstance(caught.value, TimeoutError)
    assert isinstance(caught.value, flame.DeadlineExceededError)
    assert str(caught.value) == ("wait_a_little() did not end within the deadline of 0.05 s")


def test_a_deadline_holds_for_what_the_call_starts() -> None:
    @flame.remote
    def parent() -> Any:
        try:
            return flame.get(wait_a_little.remote())
        except flame.DeadlineExceededError:
            return "too late to return anything"

    with pytest.raises(flame.DeadlineExceededError, match=r"parent\(\) did not end"):
        flame.get(parent.options(deadline=SOON).remote())


def test_a_deadline_holds_for_all_attempts() -> None:
    @flame.remote(retries=flame.Retry(-1, delay=SOON, factor=1), deadline=3 * SOON)
    def never() -> None:
        raise ValueError("again")

    with pytest.raises(flame.TaskDeadlineError):
        flame.get(never.remote())


def test_options_that_make_no_sense_are_refused() -> None:
    with pytest.raises(flame.InvalidOptionError, match="timeout must be more than 0 seconds"):
        wait_a_little.options(timeout=0)
    with pytest.raises(TypeError, match="deadline must be a number of seconds"):
        wait_a_little.options(deadline="1")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="priority must be a whole number"):
        wait_a_little.options(priority=0.5)  # type: ignore[arg-type]
