"""Every way to go wrong, at every place where user code runs: an error, and nobody else suffers."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import flame_remote as flame

from ..conftest import held_by_this_process, wait_until
from .helpers import require_alive

KINDS = [ValueError, SystemExit, KeyboardInterrupt, GeneratorExit, asyncio.CancelledError, "die"]


@pytest.fixture(scope="module", autouse=True)
def engine() -> Iterator[None]:
    """One engine for all: what goes wrong must leave it as it was."""
    before = held_by_this_process()
    flame.init(engine="embedded", num_cpus=1)
    yield
    flame.shutdown()
    gc.collect()
    assert wait_until(lambda: held_by_this_process() <= before)


@pytest.fixture(autouse=True)
def nothing_is_left_behind() -> None:
    """Checked once, as the engine is of the whole file."""


def go_wrong(kind: Any, where: int) -> None:
    """Fail, in any process but that of the test if `where` says so."""
    if where and where == os.getpid():
        return
    if kind == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    raise kind("gone wrong")


class Bomb:
    """Goes wrong as it is taken apart, or as it is put together again."""

    def __init__(self, kind: Any, *, packing: bool = False, spared: int = 0) -> None:
        self.kind, self.packing, self.spared = kind, packing, spared

    def __reduce__(self) -> Any:
        if self.packing:
            go_wrong(self.kind, 0)
        return go_wrong, (self.kind, self.spared)


class ErrorThatGoesWrong(Exception):
    """Goes wrong as it is printed, taken apart, or put together again."""

    def __init__(self, kind: Any, moment: str) -> None:
        super().__init__(moment)
        self.kind, self.moment = kind, moment

    def __str__(self) -> str:
        if self.moment == "printing":
            go_wrong(self.kind, 0)
        return "fine"

    def __reduce__(self) -> Any:
        if self.moment == "packing":
            go_wrong(self.kind, 0)
        return rebuild_error, (self.kind, self.moment, os.getpid())


def rebuild_error(kind: Any, moment: str, spared: int) -> ErrorThatGoesWrong:
    if moment == "rebuilding":
        go_wrong(kind, spared)  # not where it is tried out
    return ErrorThatGoesWrong(kind, moment)


@flame.remote(max_retries=0)
def take(value: Any) -> None:
    pass


@flame.remote(max_retries=0)
def run(kind: Any) -> None:
    go_wrong(kind, 0)


@flame.remote(max_retries=0)
async def await_it(kind: Any) -> None:
    await asyncio.sleep(0)
    go_wrong(kind, 0)


@flame.remote(max_retries=0)
def give(kind: Any, packing: bool) -> Any:
    return Bomb(kind, packing=packing)


@flame.remote(max_retries=0)
def get_inside(kind: Any, driver: int) -> Any:
    return flame.get(flame.put(Bomb(kind, spared=driver)))


@flame.remote(max_retries=0)
def fail(kind: Any, moment: str) -> None:
    raise ErrorThatGoesWrong(kind, moment)


@flame.remote(max_retries=0)
class Actor:
    def __init__(self, kind: Any = None) -> None:
        if kind is not None:
            go_wrong(kind, 0)

    def run(self, kind: Any) -> None:
        go_wrong(kind, 0)


def closing_over(value: Any) -> Any:
    @flame.remote(max_retries=0)
    def use() -> Any:
        return value

    return use


PLACES: dict[str, Callable[[Any], Any]] = {
    "rebuilding an argument": lambda kind: take.remote(Bomb(kind)),
    "rebuilding a ref's value": lambda kind: take.remote(flame.put(Bomb(kind))),
    "rebuilding the function": lambda kind: closing_over(Bomb(kind)).remote(),
    "running": lambda kind: run.remote(kind),
    "awaiting": lambda kind: await_it.remote(kind),
    "packing the result": lambda kind: give.remote(kind, True),
    "rebuilding inside a task": lambda kind: get_inside.remote(kind, os.getpid()),
    "printing the error": lambda kind: fail.remote(kind, "printing"),
    "packing the error": lambda kind: fail.remote(kind, "packing"),
    "constructing an actor": lambda kind: Actor.remote(kind).run.remote(ValueError),
    "running a method": lambda kind: Actor.remote().run.remote(kind),
}


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: getattr(kind, "__name__", kind))
@pytest.mark.parametrize("place", PLACES)
def test_task_that_goes_wrong_fails_alone(place: str, kind: Any) -> None:
    with pytest.raises(flame.FlameError) as caught:
        flame.get(PLACES[place](kind), timeout=20)
    assert not isinstance(caught.value, flame.GetTimeoutError)
    died = isinstance(caught.value, (flame.WorkerCrashedError, flame.ActorDiedError))
    if kind == "die":
        assert died
        assert "SIGKILL" in str(caught.value)
    elif kind is SystemExit and place == "running a method":
        assert "ended by itself, with sys.exit('gone wrong')" in str(caught.value)
    elif place != "constructing an actor":
        assert not died
    require_alive()


@pytest.mark.parametrize("kind", KINDS[:-1], ids=lambda kind: kind.__name__)
def test_error_that_goes_wrong_in_the_driver_is_an_error_all_the_same(kind: Any) -> None:
    with pytest.raises(flame.TaskError, match="ErrorThatGoesWrong: fine"):
        flame.get(fail.remote(kind, "rebuilding"), timeout=20)
    require_alive()


@pytest.mark.parametrize("kind", KINDS[:-1], ids=lambda kind: kind.__name__)
def test_result_that_goes_wrong_in_the_driver_is_an_error_of_its_get(kind: Any) -> None:
    ref = give.remote(kind, False)
    for _ in range(2):
        with pytest.raises(flame.DeserializationError, match=rf"give\(\).*{kind.__name__}"):
            flame.get(ref, timeout=20)
    require_alive()
