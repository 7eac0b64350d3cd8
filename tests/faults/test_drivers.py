"""Drivers that are killed, and drivers that end: nothing of them is left."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from .driver import Driver

KILLS = 10  # of each of five programs

UNGUARDED = f"""
import os, sys
sys.path.insert(0, {str(Path(__file__).parent.parent.parent)!r})
import psutil
import flame_remote as flame

print("top level", flush=True)
flame.init(num_cpus=2)

@flame.remote
def work(n):
    return n + 1, os.getpid()

values = flame.get([work.remote(n) for n in range(200)])
assert [value for value, _ in values] == list(range(1, 201))
assert os.getpid() not in {{pid for _, pid in values}}
print(len(psutil.Process().children(recursive=True)))
"""


def two_at_a_time(strike: Callable[[int], list[str]], number: int) -> None:
    """Do it so often, on two threads; none may leave anything behind."""
    with ThreadPoolExecutor(2) as threads:
        assert list(threads.map(strike, range(number))) == [[]] * number


@pytest.mark.parametrize("program", ["sleeping", "busy", "actors", "stopped"])
def test_nothing_is_left_of_a_killed_driver(program: str, tmp_path: Path) -> None:
    def strike(number: int) -> list[str]:
        with Driver(tmp_path / str(number), program) as driver:
            os.kill(driver.pid, signal.SIGKILL)
            assert driver.wait() == -signal.SIGKILL
            return driver.left_behind()

    two_at_a_time(strike, KILLS)


def test_nothing_is_left_of_a_driver_that_is_killed_while_large_values_travel(
    tmp_path: Path,
) -> None:
    def strike(number: int) -> list[str]:
        with Driver(tmp_path / str(number), "large", number) as driver:
            driver.go_on()
            assert driver.wait() == -signal.SIGKILL, driver.errors()
            return driver.left_behind()

    two_at_a_time(strike, KILLS)


def test_what_tasks_have_started_is_gone_with_the_driver(tmp_path: Path) -> None:
    def strike(number: int) -> list[str]:
        with Driver(tmp_path / str(number), "with_children") as driver:
            assert len(driver.words) == 4
            os.kill(driver.pid, signal.SIGKILL)
            driver.wait()
            return driver.left_behind()

    two_at_a_time(strike, 2)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT, signal.SIGQUIT])
def test_nothing_is_left_of_a_driver_that_a_signal_ends(
    number: signal.Signals, tmp_path: Path
) -> None:
    with Driver(tmp_path, "sleeping") as driver:
        os.kill(driver.pid, number)
        assert driver.wait() == -number
        assert driver.left_behind() == []
        if number == signal.SIGINT:
            assert driver.errors().splitlines()[-1] == "KeyboardInterrupt"
        else:
            assert driver.errors() == ""


@pytest.mark.parametrize(
    ("program", "status", "message"),
    [
        ("returns", 0, ""),
        ("exits", 5, ""),
        ("raises", 1, "KeyError: 1002"),
        ("exits_at_once", 4, ""),
        ("segfaults", -signal.SIGSEGV, ""),
        ("shuts_down_in_atexit", 0, ""),
        ("uses_the_engine_in_finalisers", 0, ""),
    ],
)
def test_a_driver_keeps_its_exit_status(
    program: str, status: int, message: str, tmp_path: Path
) -> None:
    with Driver(tmp_path, program) as driver:
        driver.go_on()
        assert driver.wait() == status, driver.errors()
        assert driver.left_behind() == []
        if message:
            assert driver.errors().splitlines()[-1] == message
        else:
            assert driver.errors() == ""


def test_an_exit_handler_may_still_use_the_engine(tmp_path: Path) -> None:
    with Driver(tmp_path, "uses_the_engine_at_exit") as driver:
        driver.go_on()
        assert driver.wait() == 0
        assert driver.output() == "atexit 9\n"
        assert driver.errors() == ""
        assert driver.left_behind() == []


def test_threads_that_wait_at_exit_are_told(tmp_path: Path) -> None:
    with Driver(tmp_path, "leaves_threads_waiting") as driver:
        driver.go_on()
        assert driver.wait() == 0
        assert set(driver.output().split()) <= {"closed"}
        assert driver.errors() == ""
        assert driver.left_behind() == []


def test_a_script_without_a_main_guard_runs_once(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(UNGUARDED)
    ended = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=50)
    assert (ended.stderr, ended.returncode) == ("", 0)
    top_level, processes = ended.stdout.splitlines()
    assert top_level == "top level"
    assert int(processes) <= 2 + 1  # workers, and what starts them


def test_a_driver_needs_no_standard_streams(tmp_path: Path) -> None:
    with Driver(tmp_path, "has_no_standard_streams") as driver:
        driver.go_on()
        assert driver.wait() == 7
        assert driver.left_behind() == []
