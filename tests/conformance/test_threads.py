"""The API from several threads of the driver at once."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

import flame_remote as flame

from .helpers import gate

pytestmark = pytest.mark.usefixtures("engine")


@flame.remote
def add(a: int, b: int) -> int:
    return a + b


@flame.remote
class Counter:
    def __init__(self) -> None:
        self.value = 0
        self.busy = False
        self.was_disturbed = False

    def bump(self) -> int:
        self.was_disturbed |= self.busy
        self.busy = True
        self.value += 1
        self.busy = False
        return self.value

    def check(self) -> tuple[int, bool]:
        return self.value, self.was_disturbed


def test_eight_threads_get_each_their_own_results() -> None:
    def work(number: int) -> bool:
        refs = [add.remote(number, n) for n in range(50)]
        return flame.get(refs) == [number + n for n in range(50)]

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(work, range(8)))


def test_an_actor_called_from_eight_threads_runs_one_call_at_a_time() -> None:
    counter = Counter.remote()

    def work(_: int) -> None:
        flame.get([counter.bump.remote() for _ in range(25)])

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(8)))
    assert flame.get(counter.check.remote()) == (200, False)


def test_refs_may_die_in_other_threads() -> None:
    refs = [[flame.put(n) for n in range(100)] for _ in range(4)]
    threads = [threading.Thread(target=refs[n].clear) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert flame.get(add.remote(1, 2)) == 3


def test_one_thread_may_wait_for_what_another_makes_possible() -> None:
    held = gate()
    got: list[Any] = []
    thread = threading.Thread(target=lambda: got.append(flame.get(held.wait.remote("opened"))))
    thread.start()
    held.open.remote()
    thread.join()
    assert got == ["opened"]


def test_the_first_calls_of_two_threads_start_one_engine(
    monkeypatch: pytest.MonkeyPatch, engine: str
) -> None:
    flame.shutdown()
    monkeypatch.setenv("FLAME_ENGINE", engine)
    monkeypatch.setenv("FLAME_NUM_CPUS", "2")
    with ThreadPoolExecutor(4) as pool:
        refs = list(pool.map(lambda n: add.remote(n, 1), range(4)))
    assert flame.get(refs) == [1, 2, 3, 4]
