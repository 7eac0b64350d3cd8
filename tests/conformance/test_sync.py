"""Lock, Semaphore and Event: shared by the processes of a session."""

from __future__ import annotations

import asyncio
import os
import threading
from pathlib import Path
from typing import Any

import pytest

import flame_remote as flame

from .local_engines import engine, nothing_is_left_behind, only_embedded

__all__ = ["engine", "nothing_is_left_behind"]
pytestmark = pytest.mark.usefixtures("engine")


def test_a_lock_is_held_by_one_at_a_time() -> None:
    lock = flame.Lock()
    assert lock.acquire()
    assert lock.locked()
    assert not lock.acquire(blocking=False)
    assert not lock.acquire(timeout=0.01)
    lock.release()
    assert not lock.locked()
    with lock as held:
        assert held
        assert lock.locked()
    assert not lock.locked()


def test_a_semaphore_has_so_many_permits_and_no_more() -> None:
    permits = flame.Semaphore(2)
    assert permits.acquire()
    assert permits.acquire(timeout=1)
    assert not permits.acquire(blocking=False)
    permits.release()
    permits.release()
    with pytest.raises(RuntimeError, match=r"release\(\) of a Semaphore of which nobody holds"):
        permits.release()
    assert permits.acquire(blocking=False)


def test_releasing_a_lock_that_nobody_holds_is_an_error() -> None:
    with pytest.raises(RuntimeError, match=r"release\(\) of a Lock"):
        flame.Lock().release()


def test_an_event_stays_set_until_it_is_cleared() -> None:
    event = flame.Event()
    assert not event.is_set()
    assert not event.wait(timeout=0.01)
    event.set()
    assert event.wait()
    assert event.is_set()
    event.clear()
    assert not event.wait(timeout=0)


def test_another_thread_ends_a_wait() -> None:
    lock, event = flame.Lock(), flame.Event()
    lock.acquire()
    taken: list[bool] = []

    def take() -> None:
        event.set()
        taken.append(lock.acquire())

    thread = threading.Thread(target=take)
    thread.start()
    assert event.wait()
    lock.release()
    thread.join()
    assert taken == [True]


def test_coroutines_use_async_with() -> None:
    lock, permits, event = flame.Lock(), flame.Semaphore(2), flame.Event()

    async def use() -> list[bool]:
        waiting = asyncio.ensure_future(event.wait_async())
        async with lock, permits as held:
            seen = [held, await lock.acquire_async(timeout=0.01)]
            await asyncio.to_thread(event.set)
        return [*seen, await waiting, await lock.acquire_async()]

    assert asyncio.run(use()) == [True, False, True, True]


@only_embedded
def test_tasks_exclude_each_other(tmp_path: Path) -> None:
    @flame.remote
    def add_one(lock: flame.Lock, path: str) -> None:
        for _ in range(10):
            with lock:
                number = int(Path(path).read_text())
                Path(path).write_text(str(number + 1))

    lock, path = flame.Lock(), tmp_path / "number"
    path.write_text("0")
    flame.get([add_one.remote(lock, str(path)) for _ in range(4)])
    assert path.read_text() == "40"
    assert not lock.locked()


@only_embedded
def test_tasks_that_wait_leave_their_cpus_to_those_that_end_the_wait() -> None:
    @flame.remote
    def wait(event: flame.Event) -> bool:
        return event.wait()

    @flame.remote
    def happen(event: flame.Event) -> None:
        event.set()

    event = flame.Event()
    waiting = [wait.remote(event) for _ in range(4)]  # there are two CPUs
    flame.get(happen.remote(event))
    assert flame.get(waiting) == [True] * 4


@flame.remote(max_retries=0)
def take_and_end(lock: flame.Lock, how: str) -> None:
    lock.acquire()
    if how == "raises":
        raise ValueError("with the lock")
    if how == "dies":
        os._exit(1)


@only_embedded
@pytest.mark.parametrize("how", ["returns", "raises", "dies"])
def test_what_a_task_holds_comes_back_when_it_has_ended(how: str) -> None:
    lock = flame.Lock()
    flame.wait([ended := take_and_end.remote(lock, how)])
    assert lock.acquire(timeout=20)
    ended.exception()


def test_what_a_task_holds_comes_back_on_the_inline_engine_too() -> None:
    lock = flame.Lock()
    flame.get(take_and_end.remote(lock, "returns"))
    assert lock.acquire(timeout=20)


@only_embedded
def test_the_next_attempt_can_take_what_the_last_one_held() -> None:
    @flame.remote(max_retries=1)
    def once_more(lock: flame.Lock, marker: str) -> str:
        lock.acquire()
        if not Path(marker).exists():
            Path(marker).touch()
            os._exit(1)
        return "second"

    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        lock = flame.Lock()
        assert flame.get(once_more.remote(lock, f"{folder}/marker")) == "second"
        assert lock.acquire(timeout=20)


@only_embedded
def test_a_wait_that_is_cancelled_leaves_the_lock_to_others() -> None:
    @flame.remote
    def wait(lock: flame.Lock, began: flame.Event) -> None:
        began.set()
        lock.acquire()

    lock, began = flame.Lock(), flame.Event()
    lock.acquire()
    waiting = wait.remote(lock, began)
    began.wait()
    flame.cancel(waiting)
    with pytest.raises(flame.TaskCancelledError):
        flame.get(waiting)
    lock.release()
    assert lock.acquire(timeout=20)


@only_embedded
def test_an_actor_that_is_killed_gives_back_what_it_held() -> None:
    @flame.remote
    class Holder:
        def hold(self, lock: flame.Lock, event: flame.Event) -> None:
            with lock:
                event.wait()

    lock, event = flame.Lock(), flame.Event()
    holder = Holder.remote()
    held = holder.hold.remote(lock, event)
    while not lock.locked():
        pass
    flame.kill(holder)
    held.exception()
    assert lock.acquire(timeout=20)


def test_copies_are_equal_and_other_locks_are_not() -> None:
    lock, event = flame.Lock(), flame.Event()
    assert flame.get(flame.put([lock, event])) == [lock, event]
    assert len({lock, flame.get(flame.put([lock]))[0], flame.Lock()}) == 2
    assert lock != flame.Lock()


@pytest.mark.parametrize(("wrong", "error"), [(0, ValueError), ("1", TypeError)])
def test_numbers_of_permits_that_are_none_are_refused(wrong: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match="value must be"):
        flame.Semaphore(wrong)


def test_a_negative_timeout_is_refused() -> None:
    with pytest.raises(ValueError, match="timeout must be 0 or more seconds, not -1"):
        flame.Lock().acquire(timeout=-1)
    with pytest.raises(ValueError, match="timeout must be 0 or more seconds, not -1"):
        flame.Event().wait(-1)
