"""What has ended is not lost with the process that it ran in, however soon that ends."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import pytest

import flame_remote as flame


@pytest.fixture(autouse=True)
def engine() -> Iterator[None]:
    with flame.init(num_cpus=2):
        yield


@flame.remote
class Counter:
    def __init__(self) -> None:
        self.value = 0

    def add(self) -> int:
        self.value += 1
        return self.value

    def text(self) -> str:
        return "x" * 2000

    def die(self) -> None:
        os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.parametrize("calls", [1, 3, 500])
def test_calls_of_an_actor_that_ended_before_it_died_have_their_results(calls: int) -> None:
    counter = Counter.remote()
    flame.get(counter.add.remote())
    results = [counter.add.remote() for _ in range(calls)]
    text = counter.text.remote()
    last = counter.add.remote()
    death = counter.die.remote()
    after = counter.add.remote()
    with pytest.raises(flame.ActorDiedError):
        flame.get(death)
    assert flame.get(results) == list(range(2, calls + 2))
    assert flame.get(text) == "x" * 2000
    assert flame.get(last) == calls + 2
    with pytest.raises(flame.ActorDiedError):
        flame.get(after)


@flame.remote(max_retries=0)
def square(x: int) -> int:
    if x == 300:
        os.kill(os.getpid(), signal.SIGKILL)
    return x * x


def test_tasks_that_may_not_run_again_and_have_ended_have_their_results() -> None:
    refs = [square.remote(x) for x in range(301)]
    assert flame.get(refs[:300]) == [x * x for x in range(300)]
    with pytest.raises(flame.WorkerCrashedError):
        flame.get(refs[300])
