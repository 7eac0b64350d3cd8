"""Queue: shared by the processes of a session."""

from __future__ import annotations

import asyncio
import queue
from typing import Any

import pytest

import flame_remote as flame

embedded_only = pytest.mark.parametrize("engine", ["embedded"], indirect=True)  # others cannot wait


def test_items_come_out_in_the_order_in_which_they_went_in(engine: str) -> None:
    shared: flame.Queue[Any] = flame.Queue()
    for item in (1, "two", [3]):
        shared.put_nowait(item)
    assert len(shared) == 3
    assert [shared.get_nowait() for _ in range(3)] == [1, "two", [3]]
    assert shared.empty()


def test_a_full_queue_refuses_and_an_empty_one_has_nothing(engine: str) -> None:
    shared: flame.Queue[int] = flame.Queue(2)
    shared.put_nowait_batch([1, 2])
    assert shared.full()
    with pytest.raises(queue.Full):
        shared.put_nowait(3)
    with pytest.raises(queue.Full, match="there is no room for 2 items; the queue holds 2"):
        shared.put_nowait_batch([3, 4])
    assert shared.get_nowait_batch(2) == [1, 2]
    with pytest.raises(queue.Empty):
        shared.get_nowait()
    with pytest.raises(queue.Empty, match="there are fewer than 1 items"):
        shared.get_nowait_batch(1)


def test_a_negative_timeout_is_refused(engine: str) -> None:
    with pytest.raises(ValueError, match="timeout must be 0 or more seconds, not -1"):
        flame.Queue().get(timeout=-1)


@embedded_only
def test_put_and_get_wait_no_longer_than_they_may(engine: str) -> None:
    shared: flame.Queue[int] = flame.Queue(1)
    with pytest.raises(queue.Empty):
        shared.get(timeout=0.01)
    shared.put(1)
    with pytest.raises(queue.Full):
        shared.put(2, timeout=0.01)
    assert shared.get() == 1


@embedded_only
def test_tasks_hand_items_to_each_other(engine: str) -> None:
    shared: flame.Queue[int] = flame.Queue(2)

    @flame.remote
    def produce(target: flame.Queue[int], number: int) -> None:
        for item in range(number):
            target.put(item)

    @flame.remote
    def consume(source: flame.Queue[int], number: int) -> list[int]:
        return [source.get() for _ in range(number)]

    consumed = consume.remote(shared, 10)
    flame.get(produce.remote(shared, 10))
    assert flame.get(consumed) == list(range(10))


@embedded_only
def test_coroutines_can_wait(engine: str) -> None:
    shared: flame.Queue[int] = flame.Queue()

    async def both() -> int:
        waiting = asyncio.ensure_future(shared.get_async())
        await shared.put_async(7)
        return await waiting

    assert asyncio.run(both()) == 7


def test_after_shutdown_the_queue_is_of_no_use(engine: str) -> None:
    shared: flame.Queue[int] = flame.Queue()
    shared.shutdown()
    with pytest.raises(flame.ActorDiedError):
        shared.put(1)
