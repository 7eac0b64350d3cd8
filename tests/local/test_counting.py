"""Counts that a model agrees with; the program and the model are in counting.py."""

from __future__ import annotations

import gc
import weakref
from typing import Any

import pytest

import flame_remote as flame

from ..conftest import wait_until
from . import counting


@pytest.mark.parametrize(
    ("seed", "store_bytes"), [(1, 64 << 20), (2, 8 << 20), (3, 8 << 20)], ids=["1", "2", "3"]
)
def test_every_count_and_every_byte_is_as_the_model_says_and_ends_with_zero(
    seed: int, store_bytes: int
) -> None:
    counting.run(seed, steps=100, store_bytes=store_bytes)


def test_the_refs_of_a_failed_task_die_without_the_garbage_collector() -> None:
    @flame.remote
    def fail() -> None:
        raise ValueError("no")

    def ask() -> weakref.ref[Any]:
        ref = fail.remote()
        with pytest.raises(ValueError, match="no"):
            flame.get(ref)
        assert isinstance(ref.exception(), ValueError)
        return weakref.ref(ref)

    with flame.init(engine="embedded", num_cpus=2):
        gc.disable()
        try:
            assert ask()() is None
        finally:
            gc.enable()


def test_workers_forget_functions_that_nobody_can_call() -> None:
    with flame.init(engine="embedded", num_cpus=2) as session:
        core: Any = session._engine._core  # type: ignore[attr-defined]

        def targets() -> set[int]:
            with session._engine._turn:  # type: ignore[attr-defined]
                core.drain()
            return {i for worker in core.crew.workers.values() for i in worker.targets}

        def call_some() -> None:
            for number in range(5):
                made = flame.remote(lambda number=number: number)
                assert flame.get(made.remote()) == number

        call_some()
        assert wait_until(lambda: not targets())
