"""Every test leaves the process as it found it: descriptors, threads, children, shared memory."""

from __future__ import annotations

import gc
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

import psutil
import pytest

# gRPC's own handlers around a fork, read at its import, leave a descriptor open where a call is
# under way in another thread; the tests that fork have no call of gRPC to continue in the child.
os.environ["GRPC_ENABLE_FORK_SUPPORT"] = "false"

pytest_plugins = ["tests.clusters", "tests.flamepy_env", "tests.caches"]

# What ends by itself (a reader thread, a child that is being reaped) has this long to do so.
PATIENCE_SECONDS: Final = 10.0


# The engine that tests on Flame share in tests/conformance, while it runs.
shared_engine_runs: Final[list[str]] = []


def pytest_runtest_setup(item: pytest.Item) -> None:
    """End the engine that tests on Flame share before a test that wants another, or none."""
    parameters = getattr(item, "callspec", None)
    wanted = None if parameters is None else parameters.params
    if shared_engine_runs and (wanted is None or "flame" not in wanted.values()):
        import flame_remote as flame

        shared_engine_runs.clear()
        flame.shutdown()


def wait_until(condition: Callable[[], bool], seconds: float = PATIENCE_SECONDS) -> bool:
    """Look at a condition that nothing announces, until it holds; say whether it ever did."""
    end = time.monotonic() + seconds
    pause = threading.Event()
    while not condition():
        if time.monotonic() > end:
            return False
        pause.wait(0.005)
    return True


def held_by_this_process() -> set[str]:
    """Name everything that a test might leave behind."""
    held = {f"thread {thread.name} ({thread.ident})" for thread in threading.enumerate()}
    if sys.platform != "linux":
        return held
    held |= {f"child {child.pid}" for child in psutil.Process().children(recursive=True)}
    for name in os.listdir("/proc/self/fd"):
        with suppress(OSError):  # that of the listing itself
            held.add(f"descriptor {name}: {os.readlink(f'/proc/self/fd/{name}')}")
    for line in Path("/proc/self/maps").read_text().splitlines():
        if "/memfd:" in line:
            held.add(f"memory map {line}")
    return held


@pytest.fixture(autouse=True)
def nothing_is_left_behind() -> Iterator[None]:
    """Fail a test after which more is held than before it."""
    yield from leaving_nothing_behind()


def leaving_nothing_behind() -> Iterator[None]:
    """Compare what is held at the two ends of the pause."""
    before = held_by_this_process()
    yield
    if held_by_this_process() <= before:
        return
    gc.collect()  # an error that is looked at holds the frames it came through, in a cycle
    wait_until(lambda: held_by_this_process() <= before)
    assert sorted(held_by_this_process() - before) == []
