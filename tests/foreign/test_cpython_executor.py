"""CPython's own tests of executors, those of the running interpreter, against flame.Executor."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

PROGRAM: Final = Path(__file__).resolve().parent / "cpython_executor.py"
ROOT: Final = PROGRAM.parent.parent.parent
LEAST_PASSED: Final = 25  # else something is wrong with the collection


def has_its_tests() -> bool:
    """Say whether this interpreter comes with the tests; many distributions leave them out."""
    try:
        return importlib.util.find_spec("test.test_concurrent_futures") is not None
    except ModuleNotFoundError:
        return False


@pytest.mark.skipif(
    not has_its_tests(), reason="this interpreter comes without its own tests of executors"
)
def test_cpythons_own_tests_of_executors_pass() -> None:
    ended = subprocess.run(
        [sys.executable, str(PROGRAM)],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert ended.returncode == 0, ended.stdout[-20_000:] + ended.stderr
    passed = re.search(r"(\d+) passed, \d+ skipped, 0 failed", ended.stdout)
    assert passed is not None
    assert int(passed[1]) >= LEAST_PASSED


AT_EXIT = """
import atexit, pathlib, sys, threading

@atexit.register
def run_last():
    try:
        executor.submit(id, None)
    except RuntimeError as error:
        print(error)

import flame_remote as flame

def touch(path):
    threading.Event().wait(0.2)
    pathlib.Path(path).touch()

executor = flame.Executor(2)
executor.submit(touch, sys.argv[1])
executor.shutdown(wait=False)
"""


def test_at_exit_calls_are_waited_for_and_no_more_are_taken(tmp_path: Path) -> None:
    """As CPython's tests ask that name the executor in programs of their own."""
    done = tmp_path / "done"
    ended = subprocess.run(
        [sys.executable, "-c", AT_EXIT, str(done)],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout.startswith("cannot schedule new futures after")
    assert done.exists()
