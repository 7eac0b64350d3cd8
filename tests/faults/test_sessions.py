"""Sessions that end in the middle of everything, begin again and again, or meet os.fork()."""

from __future__ import annotations

import gc
import os
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import flame_remote as flame

from ..conftest import held_by_this_process, wait_until
from .helpers import Pipe, Watched, descendants, require_alive, say, square

CLOSED_SECONDS = 1.0  # that long may a call go on when the session has ended


@pytest.fixture(autouse=True)
def no_session_is_left() -> Iterator[None]:
    yield
    flame.shutdown()


@flame.remote
def stay(started: str) -> None:
    say(started, str(os.getpid()))
    threading.Event().wait()


@flame.remote
class Counter:
    def __init__(self) -> None:
        self._n = 0

    def add(self, n: int = 1) -> int:
        self._n += n
        return self._n


def test_30_sessions_leave_nothing() -> None:
    # Both go to the workers as code, which is quicker than an import of this module there.
    @flame.remote
    def second(_: Any, value: Any) -> Any:
        return value

    @flame.remote
    class Counter:
        def __init__(self) -> None:
            self._n = 0

        def add(self, n: int) -> int:
            self._n += n
            return self._n

    def session() -> None:
        with flame.init(engine="embedded", num_cpus=2):
            large = bytearray(1 << 20)
            counter = Counter.remote()
            shared = flame.put(large)
            refs = [second.remote(shared, bytearray(1 << 20)) for _ in range(4)]
            assert flame.get(counter.add.remote(3)) == 3
            assert flame.get(refs[0]) == large

    session()
    gc.collect()
    before = held_by_this_process()
    for _ in range(30):
        session()
    gc.collect()
    assert held_by_this_process() == before


def test_two_threads_that_start_at_once_share_an_engine() -> None:
    barrier = threading.Barrier(8)
    results: list[int] = []

    def start() -> None:
        barrier.wait()
        results.append(flame.get(square.remote(3)))

    run_all([start] * 8)
    assert results == [9] * 8
    flame.shutdown()
    assert descendants(os.getpid()) == []


def run_all(functions: list[Callable[[], None]]) -> None:
    threads = [threading.Thread(target=function) for function in functions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def test_a_session_that_ends_under_eight_threads_tells_them_all(tmp_path: Path) -> None:
    flame.init(engine="embedded", num_cpus=2)
    with Pipe(tmp_path) as started:
        never = [stay.remote(started.path) for _ in range(2)]
        started.line()
        started.line()
    large = bytearray(1 << 20)

    def in_tasks() -> Any:
        return square.remote(1)

    waiting: list[Callable[[], object]] = [
        lambda: flame.get(never[0]),
        lambda: flame.get(never),
        lambda: flame.wait(never),
        lambda: never[0].result(),
    ]
    working: list[Callable[[], object]] = [
        lambda: flame.put(1),
        lambda: flame.put(large),
        lambda: square.remote(1),
        lambda: flame.wait([square.remote(1)]),
    ]
    closed = threading.Event()
    errors: dict[Callable[[], object], flame.FlameError] = {}

    def repeat(call: Callable[[], object]) -> None:
        try:
            while not closed.is_set():
                call()
        except flame.FlameError as error:
            errors[call] = error

    threads = [threading.Thread(target=repeat, args=[call]) for call in waiting + working]
    for thread in threads:
        thread.start()
    for thread in threads[: len(waiting)]:
        assert wait_until(lambda thread=thread: waits_in_engine(thread))
    flame.shutdown()
    closed.set()  # meanwhile those who work may have begun another session
    deadline = time.monotonic() + CLOSED_SECONDS
    for thread in threads:
        thread.join(max(0, deadline - time.monotonic()))
    assert [thread for thread in threads if thread.is_alive()] == []
    assert [type(errors[call]) for call in waiting] == [flame.EngineClosedError] * len(waiting)
    others = {type(errors[call]) for call in working if call in errors}
    assert others <= {flame.EngineClosedError, flame.SessionEndedError}


def waits_in_engine(thread: threading.Thread) -> bool:
    frame = sys._current_frames().get(thread.ident or 0)
    while frame is not None:
        if frame.f_code.co_name == "run_until":
            return True
        frame = frame.f_back
    return False


def test_a_child_of_os_fork_is_refused_and_harms_nobody() -> None:
    with flame.init(engine="embedded", num_cpus=2):
        ref, counter = square.remote(7), Counter.remote()
        stored = flame.put(bytearray(1 << 20))
        assert flame.get([ref, counter.add.remote()]) == [49, 1]
        uses: list[Callable[[], object]] = [
            lambda: square.remote(1),
            lambda: flame.get(ref),
            lambda: flame.get(stored),
            lambda: flame.put(1),
            lambda: flame.put(bytes(1 << 20)),
            lambda: flame.wait([ref]),
            lambda: counter.add.remote(),
            lambda: flame.cancel(ref),
            lambda: flame.kill(counter),
        ]
        pid = os.fork()
        if not pid:
            in_child(lambda: refused_everywhere(uses))
        assert os.waitpid(pid, 0)[1] == 0
        require_alive()
        assert flame.get(counter.add.remote()) == 2
        assert flame.get(stored) == bytearray(1 << 20)


def refused_everywhere(uses: list[Callable[[], object]]) -> None:
    for use in uses:
        with pytest.raises(flame.ForkedError):
            use()
    flame.shutdown()


def in_child(function: Callable[[], object]) -> None:
    """Run a function in a child of os.fork(), and end it. Never returns."""
    status = 1
    try:
        function()
        gc.collect()
        status = 0
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(status)


def test_a_child_of_os_fork_may_begin_a_session_of_its_own() -> None:
    def use_own_engine() -> None:
        flame.init(engine="embedded", num_cpus=1)
        require_alive()
        flame.shutdown()

    with flame.init(engine="embedded", num_cpus=2):
        flame.get(square.remote(1))
        pid = os.fork()
        if not pid:
            in_child(use_own_engine)
        assert os.waitpid(pid, 0)[1] == 0
        require_alive()


def test_a_child_that_outlives_the_session_does_not_keep_it_alive(tmp_path: Path) -> None:
    flame.init(engine="embedded", num_cpus=2)
    flame.get(square.remote(1))
    read, write = os.pipe()
    pid = os.fork()
    if not pid:
        in_child(lambda: (os.close(write), os.read(read, 1)))
    with Watched(set(descendants(os.getpid())) - {pid}) as processes:
        flame.shutdown()
        assert processes.alive_after(0) == []
    os.close(read)
    os.close(write)
    assert os.waitpid(pid, 0)[1] == 0
