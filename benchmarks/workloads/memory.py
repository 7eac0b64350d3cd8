"""Memory: of tasks that wait, and over many tasks."""

from __future__ import annotations

import gc
import os
import statistics
import tempfile
import time
from pathlib import Path
from typing import Final

from benchmarks import clock, processes, tasks
from benchmarks.adapter import NUM_WORKERS, Adapter
from benchmarks.workload import BYTES, PER_SECOND, Measures, Metric, Size, Workload

WARM_UP_TASKS: Final = 1_000
BLOCKED_WITHIN_S: Final = 30.0
WINDOW_TASKS: Final = 1_000
SAMPLE_EVERY: Final = 4  # windows

MEBIBYTES: Final = Metric("MiB", "lower")


def pending_memory(system: Adapter, size: Size) -> Measures:
    count = size(100_000, 10_000)
    with tempfile.TemporaryDirectory() as folder, system.started():
        submit = system.task(tasks.noop)
        system.gather([submit(index) for index in range(WARM_UP_TASKS)])
        block = system.task(tasks.block)
        blockers = [block(folder) for _ in range(NUM_WORKERS)]
        await_blocked(Path(folder))
        gc.collect()
        before = processes.rss_bytes()
        start = clock.now()
        refs = [submit(index) for index in range(count)]
        seconds = clock.now() - start
        gc.collect()
        grown = processes.rss_bytes() - before
        Path(folder, "open").touch()
        for blocker in blockers:
            system.get(blocker)
        del refs
    return {"bytes_per_task": grown / count, "submits_per_s": count / seconds}


def await_blocked(folder: Path) -> None:
    """Return when every worker runs a `tasks.block`."""
    end = clock.now() + BLOCKED_WITHIN_S
    while len(list(folder.glob("busy-*"))) < NUM_WORKERS:
        assert clock.now() < end, "the workers did not take up the blocking tasks"
        time.sleep(tasks.POLL_S)


def flat_memory(system: Adapter, size: Size) -> Measures:
    """Compare the tree's memory in the first tenth of the windows with that in the last.

    As many windows before them are warm-up: allocators and the collector reach their level late.
    """
    windows = size(200, 40)
    resident: list[int] = []
    with system.started():
        submit = system.task(tasks.noop)

        def run_window() -> None:
            system.gather([submit(index) for index in range(WINDOW_TASKS)])

        clock.timings(run_window, windows)
        for window in range(windows):
            run_window()
            if window % SAMPLE_EVERY == 0:
                resident.append(processes.tree_pss_bytes(os.getpid()))
    tenth = max(1, len(resident) // 10)
    early, late = statistics.median(resident[:tenth]), statistics.median(resident[-tenth:])
    return {"growth_mib": (late - early) / 2**20, "peak_mib": max(resident) / 2**20}


WORKLOADS: Final = (
    Workload(
        "pending_memory",
        "100,000 no-op tasks pending behind two blocked workers: the caller's RSS for each",
        {"bytes_per_task": BYTES, "submits_per_s": PER_SECOND},
        pending_memory,
    ),
    Workload(
        "flat_memory",
        "200,000 no-op tasks in windows of 1,000: growth of the process tree's PSS, warm",
        {"growth_mib": MEBIBYTES, "peak_mib": MEBIBYTES},
        flat_memory,
    ),
)
