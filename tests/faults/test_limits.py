"""A process that may open no more files: what needs some fails and says why, all else goes on."""

from __future__ import annotations

import os
import resource
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

import flame_remote as flame

from .driver import Driver
from .helpers import descendants, require_alive, square

ADVICE = "ulimit -n"


@contextmanager
def no_descriptors() -> Iterator[None]:
    """Let this process open nothing more."""
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    highest = max(map(int, os.listdir("/proc/self/fd")))
    resource.setrlimit(resource.RLIMIT_NOFILE, (highest + 1, limits[1]))
    taken = []
    try:
        with suppress(OSError):
            while True:
                taken.append(os.dup(0))
        yield
    finally:
        for descriptor in taken:
            os.close(descriptor)
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)


@flame.remote
class Counter:
    def add(self, n: int) -> int:
        return n + 1


@flame.remote
def return_much() -> bytearray:
    return bytearray(1 << 20)


def workers() -> list[int]:
    (spawner,) = [child for child in descendants(os.getpid()) if descendants(child)]
    return descendants(spawner)


@pytest.fixture
def engine(engine: None) -> None:
    """Both workers are there already."""
    flame.get([square.remote(n) for n in range(100)])


@pytest.mark.usefixtures("engine")
def test_an_actor_cannot_start_and_functions_go_on() -> None:
    with no_descriptors():
        counter = Counter.remote()
        with pytest.raises((flame.WorkerStartError, flame.ActorDiedError), match=ADVICE):
            flame.get(counter.add.remote(1))
        require_alive()
    assert flame.get(Counter.remote().add.remote(1)) == 2
    require_alive()


@pytest.mark.usefixtures("engine")
def test_calls_fail_if_all_workers_are_lost_and_work_again_afterwards() -> None:
    pids = workers()
    with no_descriptors():
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
        errors = [square.remote(n).exception(timeout=20) for n in range(3)]
    # Those of the lost workers may do for one new worker.
    assert all(e is None or isinstance(e, flame.WorkerStartError) for e in errors)
    require_alive()


@pytest.mark.usefixtures("engine")
def test_calls_fail_if_the_spawner_is_lost_and_work_again_afterwards() -> None:
    (spawner,) = [child for child in descendants(os.getpid()) if descendants(child)]
    with no_descriptors():
        os.kill(spawner, signal.SIGKILL)
        error = square.remote(1).exception(timeout=20)
    assert error is None or isinstance(error, flame.WorkerStartError)
    require_alive()


@pytest.mark.usefixtures("engine")
def test_a_large_value_cannot_be_put_and_the_engine_works_on() -> None:
    with no_descriptors():
        with pytest.raises(flame.FlameError, match=ADVICE):
            flame.put(bytearray(1 << 20))
        require_alive()
    assert flame.get(flame.put(bytearray(1 << 20))) == bytearray(1 << 20)


@pytest.mark.usefixtures("engine")
def test_a_large_result_cannot_be_taken_and_only_its_task_fails() -> None:
    with no_descriptors():
        ref = return_much.options(max_retries=0).remote()
        with pytest.raises(flame.WorkerCrashedError, match=ADVICE):
            flame.get(ref)
    require_alive()
    assert flame.get(return_much.remote()) == bytearray(1 << 20)


@pytest.mark.usefixtures("engine")
def test_a_session_ends_all_the_same() -> None:
    with no_descriptors():
        flame.shutdown()
    assert descendants(os.getpid()) == []


def test_a_session_does_not_begin_and_leaves_nothing() -> None:
    for spare in range(9):
        extra = [os.dup(0) for _ in range(spare)]
        with no_descriptors():
            for descriptor in extra:
                os.close(descriptor)
            with pytest.raises(flame.WorkerStartError, match=ADVICE):
                flame.init(engine="embedded", num_cpus=2)
        assert descendants(os.getpid()) == []
    with flame.init(engine="embedded", num_cpus=2):
        require_alive()


def test_a_program_that_forgets_to_close_its_files_is_told(tmp_path: Path) -> None:
    with Driver(tmp_path, "forgets_to_close") as driver:
        assert driver.wait() == 0, driver.errors()
        assert ADVICE in driver.output()
        assert driver.errors() == ""
        assert driver.left_behind() == []
