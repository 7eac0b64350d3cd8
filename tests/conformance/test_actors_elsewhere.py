"""What actors can have on every engine, and what a cluster refuses."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

import flame_remote as flame

pytestmark = pytest.mark.usefixtures("engine")


@flame.remote(replicas=2)
class Model:
    def __init__(self, start: int) -> None:
        self.calls = start

    async def add(self) -> int:
        self.calls += 1
        return self.calls


def test_groups_work_on_an_engine_of_this_machine_and_are_refused_elsewhere(engine: str) -> None:
    @flame.remote(concurrency_groups={"io": 2})
    class Grouped:
        @flame.method(concurrency_group="io")
        def call(self) -> int:
            return 1

    if engine in ("inline", "embedded"):
        assert flame.get(Grouped.remote().call.remote()) == 1
        return
    with pytest.raises(flame.InvalidOptionError, match="Grouped cannot have concurrency_groups on"):
        Grouped.remote()


def test_replicas_share_the_calls_and_end_together() -> None:
    model: Any = Model.remote(10)
    assert sorted(flame.get([model.add.remote() for _ in range(4)])) == [11, 11, 12, 12]
    flame.kill(model)
    for _ in range(2):
        with pytest.raises(flame.ActorDiedError):
            flame.get(model.add.remote())


def test_locks_semaphores_and_events_work() -> None:
    lock, permits, event = flame.Lock(), flame.Semaphore(2), flame.Event()
    with lock, permits:
        assert not lock.acquire(blocking=False)
        assert permits.acquire(timeout=5)
        assert not permits.acquire(timeout=0.01)
    event.set()
    assert event.wait(timeout=5)

    async def use() -> bool:
        async with lock:
            return await lock.acquire_async(blocking=False)

    assert asyncio.run(use()) is False


def test_tasks_take_locks() -> None:
    @flame.remote
    def take(lock: flame.Lock) -> bool:
        with lock as held:
            return held

    assert flame.get(take.remote(flame.Lock())) is True
