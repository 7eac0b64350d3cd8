"""What is particular to the inline engine: who runs a call, and when it has to wait."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import threading
import weakref
from collections.abc import Iterator
from typing import Any

import pytest

import flame_remote as flame


@pytest.fixture(autouse=True)
def session() -> Iterator[flame.Session]:
    with flame.init("inline", num_cpus=2) as session:
        yield session


@flame.remote
def identity(x: Any) -> Any:
    return x


@flame.remote
class Busy:
    """An actor that can be kept busy from another thread."""

    def hold(self, path: str) -> str:
        with open(path) as line:  # until somebody writes
            return line.read()

    def call(self, x: int) -> int:
        return x


def held(busy: Any, folder: Any) -> tuple[threading.Thread, Any, list[Any]]:
    """Keep an actor busy in a thread, until the pipe that is returned is written to."""
    path = str(folder / "pipe")
    os.mkfifo(path)
    got: list[Any] = []
    thread = threading.Thread(target=lambda: got.append(busy.hold.remote(path).get()))
    thread.start()
    return thread, open(path, "w"), got  # opens once the actor reads


def test_a_call_runs_at_once_in_the_calling_thread() -> None:
    @flame.remote
    def where() -> tuple[int, int]:
        return os.getpid(), threading.get_ident()

    ref = where.remote()
    assert ref.done()
    assert ref.get() == (os.getpid(), threading.get_ident())


def test_a_coroutine_function_runs_in_the_calling_thread_too() -> None:
    @flame.remote
    async def where() -> int:
        return threading.get_ident()

    assert where.remote().get() == threading.get_ident()


def test_a_coroutine_function_runs_to_its_end_even_when_called_in_a_running_loop() -> None:
    @flame.remote
    async def later() -> int:
        await asyncio.sleep(0)
        return 5

    async def main() -> tuple[bool, int]:
        ref = later.remote()
        return ref.done(), await ref

    assert asyncio.run(main()) == (True, 5)


def test_a_task_knows_that_it_is_one() -> None:
    from flame_remote import _current

    @flame.remote
    def ids() -> tuple[int, int]:
        engine = _current.engine
        assert engine is not None
        before = engine.current_task()
        inside = flame.get(here.remote())
        assert engine.current_task() == before
        return before, inside

    @flame.remote
    def here() -> int:
        engine = _current.engine
        assert engine is not None
        return engine.current_task()

    outer, inner = flame.get(ids.remote())
    assert 0 < outer < inner
    assert _current.engine is not None
    assert _current.engine.current_task() == 0


def test_a_call_on_an_actor_that_is_busy_in_another_thread_comes_later(tmp_path: Any) -> None:
    busy = Busy.remote()
    thread, pipe, got = held(busy, tmp_path)
    later = busy.call.remote(1)
    dependent = identity.remote(later)
    assert not later.done()
    assert not dependent.done()
    with pytest.raises(flame.GetTimeoutError, match=r"identity\(\) #\d+ \(pending\)"):
        flame.get(dependent, timeout=0)
    pipe.write("free")
    pipe.close()
    assert flame.get(dependent) == 1
    thread.join()
    assert got == ["free"]


def test_killing_a_busy_actor_fails_what_runs_and_what_waits(tmp_path: Any) -> None:
    busy = Busy.remote()
    errors: list[Any] = []
    path = str(tmp_path / "pipe")
    os.mkfifo(path)
    thread = threading.Thread(target=lambda: errors.append(busy.hold.remote(path).exception()))
    thread.start()
    with open(path, "w"):
        waiting = busy.call.remote(1)
        flame.kill(busy)
        assert isinstance(waiting.exception(), flame.ActorDiedError)
    thread.join()
    assert isinstance(errors[0], flame.ActorDiedError)


def test_two_actors_that_wait_for_each_other_in_two_threads_are_told_so() -> None:
    meeting = threading.Barrier(2)
    meetings[:] = [meeting]

    @flame.remote
    class Side:
        def ask(self, other: Any) -> Any:
            from tests.inline import test_engine

            test_engine.meetings[0].wait(timeout=60)
            return flame.get(other.answer.remote())

        def answer(self) -> str:
            return "fine"

    left, right = Side.remote(), Side.remote()
    results: list[Any] = []
    threads = [
        threading.Thread(target=lambda: results.append(left.ask.remote(right).exception())),
        threading.Thread(target=lambda: results.append(right.ask.remote(left).exception())),
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    # One is told; that ends its call, so the other gets its answer.
    assert sorted(type(result).__name__ for result in results) == [
        "NoneType",
        "TaskError(DeadlockError)",
    ]


meetings: list[threading.Barrier] = []


def test_an_async_method_that_blocks_on_its_own_actor_is_told_so() -> None:
    @flame.remote
    class Knot:
        async def outer(self, me: Any) -> Any:
            return flame.get(me.inner.remote())

        async def inner(self) -> int:
            return 1

    knot = Knot.remote()
    with pytest.raises(flame.DeadlockError):
        flame.get(knot.outer.remote(knot))
    assert flame.get(knot.inner.remote()) == 1


def test_ctrl_c_in_a_task_ends_the_program_and_a_raised_one_does_not() -> None:
    @flame.remote
    def interrupted() -> None:
        signal.raise_signal(signal.SIGINT)

    @flame.remote
    def raising() -> None:
        raise KeyboardInterrupt("mine")

    with pytest.raises(KeyboardInterrupt):
        interrupted.remote()
    assert isinstance(raising.remote().exception(), flame.TaskError)
    assert flame.get(identity.remote(1)) == 1


def test_values_are_freed_when_their_last_ref_dies() -> None:
    from flame_remote import _current

    engine: Any = _current.engine
    refs: list[Any] = [flame.put(n) for n in range(10)]
    refs.append(flame.put([refs[0]]))
    flame.get(identity.remote([refs[1]]))
    before = len(engine._tables.objects._objects)
    del refs
    flame.put(None)
    assert len(engine._tables.objects._objects) <= before - 11 + 1


def test_the_ref_of_a_failed_call_dies_without_help_from_the_collector() -> None:
    @flame.remote
    def fail() -> None:
        raise ValueError("x")

    gc.disable()
    try:
        ref = fail.remote()
        gone = weakref.ref(ref)
        del ref
        assert gone() is None
    finally:
        gc.enable()


def test_the_state_is_clean_after_calls_without_end() -> None:
    from flame_remote import _current

    @flame.remote
    def endless() -> Any:
        return flame.get(endless.remote())

    assert isinstance(endless.remote().exception(), RecursionError)
    engine: Any = _current.engine
    assert engine._tables.calls._running == {}
    assert engine._tables.calls._waiting == {}
    assert engine._tables.calls._blocked_on == {}
