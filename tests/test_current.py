"""The engine of a process, and children made by os.fork()."""

from __future__ import annotations

import os
import traceback
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import flame_remote as flame
from flame_remote import _current


@pytest.fixture(autouse=True)
def inline() -> Iterator[None]:
    flame.init("inline")
    yield
    flame.shutdown()


@flame.remote
def square(x: int) -> int:
    return x * x


@flame.remote
class Counter:
    def add(self, n: int) -> int:
        return n


def in_a_forked_child(check: Callable[[], None]) -> None:
    """Run `check` in a child made by os.fork(); fail with its traceback if it raises."""
    reader, writer = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # newer Pythons warn of a fork beside other threads
        pid = os.fork()
    if pid == 0:
        text = ""
        try:
            check()
        except BaseException:
            text = traceback.format_exc()
        os.write(writer, text.encode())
        os._exit(0)
    os.close(writer)
    with open(reader) as lines:
        text = lines.read()
    os.waitpid(pid, 0)
    assert text == ""


def test_every_verb_is_refused_in_a_forked_child() -> None:
    ref, counter = square.remote(2), Counter.remote()
    counter.add.remote(1)

    def check() -> None:
        uses: list[Callable[[], Any]] = [
            lambda: square.remote(3),
            lambda: square.remote(ref),
            lambda: Counter.remote(),
            lambda: counter.add.remote(1),
            lambda: flame.get(ref),
            lambda: flame.get([ref]),
            lambda: flame.put(1),
            lambda: flame.cancel(ref),
            lambda: flame.kill(counter),
        ]
        for use in uses:
            with pytest.raises(flame.ForkedError, match=r"call flame.init\(\) in the child"):
                use()
        assert not flame.is_initialized()
        flame.shutdown()

    in_a_forked_child(check)
    assert flame.get(square.remote(3)) == 9


def test_a_forked_child_may_start_an_engine_of_its_own() -> None:
    ref = square.remote(2)

    def check() -> None:
        with flame.init("inline"):
            assert flame.get(square.remote(3)) == 9
            with pytest.raises(flame.FlameError):
                square.remote(ref)

    in_a_forked_child(check)
    assert flame.get(ref) == 4


def test_a_child_forked_before_anything_started_just_works() -> None:
    flame.shutdown()

    def check() -> None:
        os.environ["FLAME_ENGINE"] = "inline"
        assert flame.get(square.remote(3)) == 9
        flame.shutdown()

    in_a_forked_child(check)


def test_the_runtime_of_a_worker_sets_the_engine_that_calls_use() -> None:
    engine = _current.engine
    assert engine is not None
    _current.set_current(None)
    assert not flame.is_initialized()
    _current.set_current(engine)
    assert _current.current_engine() is engine
    assert square.remote(2)._engine is engine
