"""Cancelling functions and methods that run: how each is told, and what comes of it."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import flame_remote as flame

from ..conftest import wait_until
from .local_engines import engine, nothing_is_left_behind, only_embedded

__all__ = ["engine", "nothing_is_left_behind"]
pytestmark = [pytest.mark.usefixtures("engine"), only_embedded]

LONG = 60.0  # seconds that nobody waits for


def work(folder: Path, stubborn: bool = False) -> None:
    with (folder / "attempts").open("a") as attempts:
        attempts.write("x")
    try:
        (folder / "begun").touch()
        wait_until((folder / "never").exists, LONG)
    except KeyboardInterrupt:
        (folder / "interrupted").touch()
        if stubborn:
            wait_until((folder / "never").exists, LONG)
        raise


async def work_async(folder: Path) -> None:
    with (folder / "attempts").open("a") as attempts:
        attempts.write("x")
    try:
        (folder / "begun").touch()
        await asyncio.sleep(LONG)
    except asyncio.CancelledError:
        (folder / "interrupted").touch()
        raise


@flame.remote
class Worker:
    """Works, one call at a time."""

    def work(self, folder: Path) -> None:
        work(folder)

    def ping(self) -> str:
        return "here"


def is_cancelled(ref: Any, folder: Path, **how: Any) -> bool:
    """Cancel a call once it runs; say whether its function was told."""
    assert wait_until((folder / "begun").exists)
    assert flame.cancel(ref, **how)
    with pytest.raises(flame.TaskCancelledError):
        flame.get(ref)
    assert flame.cancel(ref) is False
    return (folder / "interrupted").exists()


@pytest.mark.parametrize("function", [work, work_async])
def test_a_function_is_interrupted_and_not_tried_again(function: Any, tmp_path: Path) -> None:
    patient = flame.remote(max_retries=3, retry_exceptions=True)(function)
    assert is_cancelled(patient.remote(tmp_path), tmp_path)
    assert (tmp_path / "attempts").read_text() == "x"


@pytest.mark.parametrize("function", [work, work_async])
def test_a_function_that_is_ended_by_force_is_not_tried_again(
    function: Any, tmp_path: Path
) -> None:
    patient = flame.remote(max_retries=-1, retry_exceptions=True)(function)
    assert not is_cancelled(patient.remote(tmp_path), tmp_path, force=True)
    assert (tmp_path / "attempts").read_text() == "x"


def test_a_function_that_will_not_end_has_a_time_of_grace(tmp_path: Path) -> None:
    ref = flame.remote(work).remote(tmp_path, stubborn=True)
    assert is_cancelled(ref, tmp_path, grace=0.2)
    assert (tmp_path / "attempts").read_text() == "x"


def test_a_function_that_ends_in_its_time_of_grace_keeps_its_process(tmp_path: Path) -> None:
    pids = {row.pid for row in flame.state.workers()}
    assert is_cancelled(flame.remote(work).remote(tmp_path), tmp_path, grace=LONG)
    assert pids <= {row.pid for row in flame.state.workers()}


@pytest.mark.parametrize("how", [{}, {"force": True}, {"grace": LONG}])
def test_a_method_of_a_plain_actor_is_interrupted_and_the_actor_lives_on(
    how: dict[str, Any], tmp_path: Path
) -> None:
    worker = Worker.remote()
    assert is_cancelled(worker.work.remote(tmp_path), tmp_path, **how)
    assert flame.get(worker.ping.remote()) == "here"


def test_a_task_that_is_cancelled_while_its_argument_is_rebuilt_hurts_no_other(
    tmp_path: Path,
) -> None:
    class Slow:
        def __reduce__(self) -> Any:
            return work, (tmp_path,)

    @flame.remote
    def take(*values: Any) -> int:
        return len(values)

    array = np.arange(100_000)
    ref = take.remote(array, Slow(), array)
    assert wait_until((tmp_path / "begun").exists)
    flame.cancel(ref, grace=LONG)
    with pytest.raises(flame.TaskCancelledError):
        flame.get(ref)
    assert flame.get([take.remote(array, n) for n in range(20)]) == [2] * 20


def test_a_time_of_grace_that_is_none_is_refused() -> None:
    ref = flame.put(1)
    with pytest.raises(ValueError, match="grace must be 0 or more seconds, not -1"):
        flame.cancel(ref, grace=-1)
    with pytest.raises(TypeError, match="grace must be a number of seconds or None, not str"):
        flame.cancel(ref, grace="5")  # type: ignore[arg-type]
