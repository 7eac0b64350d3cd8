"""Sessions: they begin, end, begin again, and what is left of an old one is refused."""

from __future__ import annotations

import threading
from typing import Any

import pytest

import flame_remote as flame

from .helpers import gate


@flame.remote
def identity(x: Any) -> Any:
    return x


@flame.remote
class Holder:
    def __init__(self, value: Any = None) -> None:
        self.value = value

    def read(self) -> Any:
        return self.value


def test_sessions_can_follow_each_other(engine: str) -> None:
    for n in range(10):
        assert flame.get(identity.remote(n)) == n
        holder = Holder.remote(n)
        assert flame.get(holder.read.remote()) == n
        flame.shutdown()
        assert not flame.is_initialized()
        flame.init(engine=engine, num_cpus=2)


def test_a_session_is_a_context_manager(engine: str) -> None:
    flame.shutdown()
    with flame.init(engine=engine, num_cpus=1) as session:
        assert session.resources["CPU"] == 1
        assert flame.get(identity.remote(1)) == 1
    assert not flame.is_initialized()


def test_shutdown_may_be_called_twice(engine: str) -> None:
    flame.shutdown()
    flame.shutdown()
    assert not flame.is_initialized()


def test_refs_of_an_ended_session_are_refused(engine: str) -> None:
    old = identity.remote(1)
    flame.get(old)
    flame.shutdown()
    with pytest.raises(flame.SessionEndedError, match="ended"):
        flame.get(old)
    flame.init(engine=engine, num_cpus=2)
    flame.get([identity.remote(n) for n in range(10)])  # of the same ids
    for use in (
        lambda: flame.get(old),
        lambda: old.get(),
        lambda: flame.wait([old]),
        lambda: identity.remote(old),
        lambda: identity.remote([old]),
        lambda: flame.cancel(old),
    ):
        with pytest.raises(flame.SessionEndedError):
            use()


def test_handles_of_an_ended_session_are_refused(engine: str) -> None:
    old = Holder.remote(1)
    flame.get(old.read.remote())
    flame.shutdown()
    flame.init(engine=engine, num_cpus=2)
    new = Holder.remote(2)
    with pytest.raises(flame.SessionEndedError):
        old.read.remote()
    with pytest.raises(flame.SessionEndedError):
        flame.kill(old)
    assert flame.get(new.read.remote()) == 2


def test_a_function_may_be_used_in_one_session_after_the_other(engine: str) -> None:
    @flame.remote
    def local(x: int) -> int:
        return x + 1

    assert flame.get(local.remote(1)) == 2
    flame.shutdown()
    flame.init(engine=engine, num_cpus=2)
    assert flame.get(local.remote(2)) == 3


def test_who_waits_when_the_engine_is_shut_down_is_told_so(engine: str) -> None:
    held = gate()
    waiting = held.wait.remote()
    begun = threading.Event()
    errors: list[BaseException | None] = []

    def wait() -> None:
        begun.set()
        errors.append(waiting.exception())

    thread = threading.Thread(target=wait)
    thread.start()
    begun.wait()
    flame.shutdown()
    thread.join()
    assert isinstance(errors[0], flame.EngineError)


def test_a_second_init_is_refused_or_ignored(engine: str) -> None:
    with pytest.raises(flame.EngineError, match="already running"):
        flame.init(engine=engine)
    session = flame.init(ignore_reinit_error=True)
    assert session.resources["CPU"] == 2


def test_a_task_that_asks_for_more_than_there_is_is_refused_at_the_call(engine: str) -> None:
    greedy = identity.options(num_cpus=100, name="greedy")
    with pytest.raises(flame.UnschedulableError, match=r"greedy needs num_cpus=100.*has 2"):
        greedy.remote(1)
    with pytest.raises(flame.UnschedulableError, match="license"):
        Holder.options(resources={"license": 1}).remote()
    assert flame.get(identity.remote(1)) == 1
