from __future__ import annotations

import asyncio
import contextvars
import queue
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from flame_remote._execute.coroutines import LoopThread, run_coroutine

Ending = tuple[bool, Any]


@pytest.fixture
def loop() -> Iterator[LoopThread]:
    thread = LoopThread("test")
    yield thread
    thread.close()


async def add_one(x: int) -> int:
    await asyncio.sleep(0)
    return x + 1


async def for_ever() -> None:
    await asyncio.Event().wait()


def start(loop: LoopThread, number: int, make: Any) -> queue.Queue[Ending]:
    """Start a coroutine on the loop; its end arrives in the queue."""
    ended: queue.Queue[Ending] = queue.Queue()
    loop.call_soon(lambda: loop.start(number, make(), lambda *ending: ended.put(ending)))
    return ended


def test_a_coroutine_runs_in_the_calling_thread() -> None:
    async def where() -> int:
        return threading.get_ident()

    assert run_coroutine(where()) == (True, threading.get_ident())


def test_a_coroutine_runs_elsewhere_if_a_loop_is_running_here() -> None:
    variable = contextvars.ContextVar("variable", default=0)

    async def where() -> tuple[int, int]:
        return threading.get_ident(), variable.get()

    async def main() -> Ending:
        variable.set(5)
        return run_coroutine(where())

    succeeded, (thread, value) = asyncio.run(main())
    assert succeeded
    assert thread != threading.get_ident()
    assert value == 5


def test_coroutines_interleave_on_a_loop_thread(loop: LoopThread) -> None:
    met = asyncio.Event()

    async def wait() -> str:
        await met.wait()
        return "met"

    async def meet() -> str:
        met.set()
        return "set"

    first, second = start(loop, 1, wait), start(loop, 2, meet)
    assert second.get(timeout=60) == (True, "set")
    assert first.get(timeout=60) == (True, "met")


def test_what_a_coroutine_raises_is_handed_over(loop: LoopThread) -> None:
    async def leave() -> None:
        raise SystemExit(3)

    succeeded, error = start(loop, 1, leave).get(timeout=60)
    assert not succeeded
    assert isinstance(error, SystemExit)
    assert start(loop, 2, lambda: add_one(1)).get(timeout=60) == (True, 2)


@pytest.mark.parametrize("has_begun", [True, False])
def test_a_cancelled_coroutine_ends_whether_it_has_begun_or_not(
    loop: LoopThread, has_begun: bool
) -> None:
    if has_begun:
        ended = start(loop, 1, for_ever)
        start(loop, 2, lambda: add_one(1)).get(timeout=60)
        loop.cancel(1)
    else:
        ended = queue.Queue()

        def start_and_cancel() -> None:
            loop.start(1, for_ever(), lambda *ending: ended.put(ending))
            loop.cancel(1)

        loop.call_soon(start_and_cancel)
    succeeded, error = ended.get(timeout=60)
    assert not succeeded
    assert isinstance(error, asyncio.CancelledError)


def test_closing_ends_what_still_runs() -> None:
    loop = LoopThread("test")
    ended = start(loop, 1, for_ever)
    loop.close()
    assert ended.get_nowait()[0] is False
    loop.close()
    loop.call_soon(lambda: None)  # nobody is there to call it


def test_a_loop_thread_may_close_itself() -> None:
    loop = LoopThread("test")
    inside: queue.Queue[bool] = queue.Queue()
    loop.call_soon(lambda: (inside.put(loop.is_current()), loop.close())[0])
    assert inside.get(timeout=60)
    assert not loop.is_current()
    loop.close()
