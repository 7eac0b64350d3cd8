"""Processes that tasks start and leave behind."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

import flame_remote as flame

from .driver import GONE_SECONDS
from .helpers import Pipe, Watched, require_alive, say
from .programs import leave_children

pytestmark = pytest.mark.usefixtures("engine")


@flame.remote
def leave() -> list[int]:
    return leave_children()


def test_the_children_of_tasks_live_as_long_as_the_session() -> None:
    with Watched(flame.get(leave.remote())) as children:
        assert len(children.alive_after(0)) == 4
        require_alive()
        assert len(children.alive_after(0)) == 4
        flame.shutdown()
        assert children.alive_after(GONE_SECONDS) == []


def test_the_children_of_a_worker_that_crashes_go_with_it(tmp_path: Path) -> None:
    @flame.remote(max_retries=0)
    def leave_and_die(pipe: str) -> None:
        say(pipe, " ".join(map(str, leave_children())))
        say(pipe, "dying")
        os._exit(1)

    with Pipe(tmp_path) as pipe:
        ref = leave_and_die.remote(pipe.path)
        pids = [int(pid) for pid in pipe.line().split()]
        with Watched(pids) as children:
            pipe.line()
            with pytest.raises(flame.WorkerCrashedError):
                flame.get(ref)
            assert children.alive_after(GONE_SECONDS) == []
    require_alive()


def test_a_task_may_wait_for_its_own_children() -> None:
    @flame.remote
    def run_children() -> list[int]:
        import subprocess

        programs = [subprocess.Popen(["sh", "-c", f"exit {n}"]) for n in range(10)]
        return [program.wait() for program in programs]

    assert flame.get(run_children.remote()) == list(range(10))


def test_a_task_may_use_a_process_pool_of_its_own() -> None:
    @flame.remote
    def use_pool() -> list[int]:
        import multiprocessing

        with multiprocessing.get_context("fork").Pool(2) as pool:
            return pool.map(abs, range(-10, 0))

    assert flame.get(use_pool.remote()) == list(range(10, 0, -1))
    require_alive()
