"""Calls that say how much memory they take, and those that take more."""

from __future__ import annotations

import mmap
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy
import pytest

import flame_remote as flame

from ..conftest import leaving_nothing_behind
from ..faults.helpers import Pipe, note
from .local_engines import only_embedded

MIB = 1 << 20


@pytest.fixture(scope="module", autouse=True)
def nothing_is_left_behind() -> Iterator[None]:
    yield from leaving_nothing_behind()


@pytest.fixture(scope="module", params=["inline", "embedded"])
def engine(request: pytest.FixtureRequest, nothing_is_left_behind: None) -> Iterator[str]:
    """Run the tests on an engine with two CPUs, where calls may ask for 1 GiB."""
    if flame.is_initialized():  # the one on Flame, of other files
        flame.shutdown()
    with flame.init(engine=request.param, num_cpus=2, memory="1g"):
        yield request.param


@flame.remote(memory="50m")
def grow(size: int, ledger: str, pipe: str = "") -> int:
    """Fill so much memory, then wait: for nobody, if it is too much."""
    number = note(ledger, "grew")
    filled = mmap.mmap(-1, size, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    for offset in range(0, size, mmap.PAGESIZE):
        filled[offset] = 1
    if pipe:
        with open(pipe) as file:
            file.readline()
    filled.close()
    return number


@pytest.fixture
def ledger(tmp_path: Path) -> str:
    return str(tmp_path / "ledger")


def test_a_call_within_its_memory_runs(engine: str, ledger: str) -> None:
    assert flame.get(grow.remote(10 * MIB, ledger)) == 1


def test_memory_that_can_never_be_had_is_refused_at_the_call(engine: str, ledger: str) -> None:
    with pytest.raises(flame.UnschedulableError) as caught:
        grow.options(memory="2g").remote(1, ledger)
    assert str(caught.value) == (
        "grow needs memory=2147483648 bytes but this engine has 1073741824; ask for less, or start "
        "with flame.init(memory=...)"
    )


@pytest.mark.parametrize("memory", ["much", "1.5g", -1])
def test_a_size_that_is_none_is_refused(engine: str, memory: int | str) -> None:
    with pytest.raises(flame.InvalidOptionError, match="memory must be bytes or a size such as"):
        grow.options(memory=memory)


@only_embedded
def test_a_call_that_takes_more_is_ended_and_not_tried_again(
    engine: str, ledger: str, tmp_path: Path
) -> None:
    with Pipe(tmp_path) as pipe:
        with pytest.raises(flame.OutOfMemoryError) as caught:
            flame.get(grow.remote(200 * MIB, ledger, pipe.path))
        assert isinstance(caught.value, MemoryError)
        assert caught.value.limit_bytes == 50 * MIB < caught.value.seen_bytes
        assert str(caught.value).startswith("grow() was ended: its process had grown by ")
        assert "its memory is 50.0 MiB" in str(caught.value)
        assert note(ledger, "grew") == 2  # this one, and the only attempt
    assert flame.get(grow.remote(1, ledger)) == 3


@only_embedded
def test_what_others_have_left_in_a_process_is_not_held_against_a_call(
    engine: str, ledger: str
) -> None:
    @flame.remote(num_cpus=2)
    def leave_much() -> int:
        import builtins

        builtins.left = bytearray(b"1" * (100 * MIB))  # type: ignore[attr-defined]
        return os.getpid()

    @flame.remote(memory="50m", num_cpus=2)
    def look() -> int:
        return os.getpid()

    left = flame.get(leave_much.remote())
    assert flame.get(look.remote()) == left


@only_embedded
def test_stored_values_are_not_the_calls_own_memory(engine: str) -> None:
    @flame.remote(memory="50m")
    def look(value: Any) -> int:
        refs = [flame.put(value) for _ in range(2)]
        return sum(map(len, flame.get(refs)))

    value = numpy.ones(60 * MIB, dtype=numpy.uint8)
    assert flame.get(look.remote(value)) == 120 * MIB


@only_embedded
def test_an_actor_that_takes_more_dies_and_its_calls_say_why(engine: str, tmp_path: Path) -> None:
    @flame.remote(memory="50m")
    class Hoard:
        def add(self, size: int, pipe: str) -> None:
            self.kept = bytearray(b"1" * size)
            with open(pipe) as file:
                file.readline()

    with Pipe(tmp_path) as pipe:
        hoard = Hoard.remote()
        with pytest.raises(
            flame.ActorDiedError, match=r"ended, having grown by \d+ MiB: its memory is 50 MiB"
        ):
            flame.get(hoard.add.remote(200 * MIB, pipe.path))


@only_embedded
def test_calls_wait_until_their_memory_is_free(engine: str, tmp_path: Path, ledger: str) -> None:
    with Pipe(tmp_path) as pipe:
        large = grow.options(memory="700m", num_cpus=0)
        first = large.remote(1, ledger, pipe.path)
        second = large.remote(1, ledger)
        assert "it takes 700 MiB memory, and 324 MiB of 1024 MiB are" in flame.explain(second)
        with open(pipe.path, "w") as file:
            file.write("go\n")
        assert flame.get([first, second]) == [1, 2]
