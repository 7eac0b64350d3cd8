"""Limits of calls on a cluster: what becomes of those that are late, and which are refused."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import numpy as np
import pytest

import flame_remote as flame

from ..conftest import wait_until
from .conftest import Keys

pytestmark = pytest.mark.usefixtures("session")

OWN = 1  # what workers execute, for as long as the session lasts
SOON = 0.05


@flame.remote
def large_when(path: str, began: str) -> np.ndarray:
    Path(began).touch()
    while not Path(path).exists():
        time.sleep(0.005)
    return np.ones(100_000)


def test_what_a_late_call_returns_is_dropped(keys: Keys, tmp_path: Path) -> None:
    flag, began = tmp_path / "flag", tmp_path / "began"
    late = large_when.options(timeout=SOON).remote(str(flag), str(began))
    with pytest.raises(flame.TaskTimeoutError):
        flame.get(late)
    assert wait_until(began.exists)
    flag.touch()
    assert flame.get(large_when.remote(str(flag), str(began))).sum() == 100_000
    assert keys.become(OWN)


def test_a_call_that_waits_for_its_arguments_is_not_begun_after_its_deadline(
    tmp_path: Path,
) -> None:
    flag, began, never = (tmp_path / name for name in ("flag", "began", "never"))

    @flame.remote(deadline=SOON)
    def after(value: object, path: str) -> None:
        Path(path).touch()

    slow = large_when.remote(str(flag), str(began))
    with pytest.raises(flame.TaskDeadlineError, match=r"after\(\) did not end within the deadline"):
        flame.get(after.remote(slow, str(never)))
    flag.touch()
    flame.get(slow)
    assert not never.exists()


def test_a_coroutine_of_an_actor_is_ended_when_it_is_late(tmp_path: Path) -> None:
    flag = tmp_path / "ended"

    @flame.remote
    class Waiter:
        async def wait(self, path: str) -> None:
            try:
                await asyncio.sleep(60)
            finally:
                Path(path).touch()

    waiter = Waiter.remote()
    with pytest.raises(flame.TaskTimeoutError, match=r"Waiter\.wait\(\)"):
        flame.get(waiter.wait.options(timeout=SOON).remote(str(flag)))
    assert wait_until(flag.exists)


def test_limits_that_a_cluster_cannot_keep_to_are_refused_with_the_reason() -> None:
    with pytest.raises(flame.InvalidOptionError, match="large_when: priority needs an engine on"):
        large_when.options(priority=1).remote("", "")
    with pytest.raises(flame.InvalidOptionError, match="max_calls needs an engine on this machine"):
        large_when.options(max_calls=1).remote("", "")
