"""A loop in a thread: what is handed over runs, or is told that the loop was closed."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from concurrent.futures import CancelledError

import pytest

from flame_remote.core.loop import LoopThread


class ClosedError(Exception):
    """What the loop of these tests says when it was closed."""


@pytest.fixture
def loop() -> Iterator[LoopThread]:
    loop = LoopThread("test-loop", ClosedError)
    yield loop
    loop.close(nothing)


async def nothing() -> None:
    """End without having done anything."""


async def thread_name() -> str:
    return threading.current_thread().name


async def forever() -> None:
    await asyncio.Event().wait()


def test_what_is_handed_over_runs_in_the_thread_of_the_loop(loop: LoopThread) -> None:
    assert loop.spawn(thread_name()).result(10) == "test-loop"
    assert not loop.is_current


def test_what_is_handed_over_together_starts_in_order(loop: LoopThread) -> None:
    started: list[int] = []

    async def start(number: int) -> None:
        started.append(number)

    for future in [loop.spawn(start(number)) for number in range(1000)]:
        future.result(10)
    assert started == list(range(1000))


def test_an_error_reaches_the_future(loop: LoopThread) -> None:
    async def fail() -> None:
        raise KeyError("x")

    with pytest.raises(KeyError):
        loop.spawn(fail()).result(10)


def test_cancelling_the_future_cancels_the_coroutine(loop: LoopThread) -> None:
    cancelled = threading.Event()

    async def wait() -> None:
        try:
            await forever()
        finally:
            cancelled.set()

    future = loop.spawn(wait())
    loop.spawn(nothing()).result(10)  # the first has started by now
    assert future.cancel()
    assert cancelled.wait(10)
    with pytest.raises(CancelledError):
        future.result(10)


def test_closing_cancels_what_runs_and_runs_the_last_thing(loop: LoopThread) -> None:
    said: list[str] = []

    async def last() -> None:
        said.append(await thread_name())

    running = loop.spawn(forever())
    loop.close(last)
    loop.close(last)
    assert said == ["test-loop"]
    assert loop.is_closed
    with pytest.raises(ClosedError):
        running.result(0)


def test_a_closed_loop_takes_nothing_in(loop: LoopThread) -> None:
    loop.close(nothing)
    coroutine = nothing()
    with pytest.raises(ClosedError):
        loop.spawn(coroutine)
    assert coroutine.cr_frame is None  # closed, so that it is not reported as forgotten


def test_a_loop_can_be_closed_from_its_own_thread(loop: LoopThread) -> None:
    async def close() -> bool:
        loop.close(nothing)
        return loop.is_current

    closing = loop.spawn(close())
    loop.close(nothing)
    assert closing.result(0)
