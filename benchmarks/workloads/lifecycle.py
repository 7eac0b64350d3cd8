"""Start, first result, idle memory, shutdown: a user's script in a process of its own.

The script is as bare as a user's first one: no time or memory of the benchmark is counted.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from benchmarks import clock, processes
from benchmarks.adapter import Adapter
from benchmarks.workload import COUNT, MEGABYTES, SECONDS, Measures, Size, Workload

# Longer than engines need to settle after a burst; none is asked to give memory back sooner.
SETTLE_S: Final = 1.0

FUNCTIONS: Final = """
import sys
import time
def double(x):
    return 2 * x
def nap(seconds):
    time.sleep(seconds)
    return seconds
"""

# Answers one line to each line it is sent; the first one unasked.
ACTS: Final = """
print(run(double, [21])[0], flush=True)
sys.stdin.readline()
print(len(run(nap, [0.05] * 8)), flush=True)
sys.stdin.readline()
start = time.perf_counter()
stop()
print(time.perf_counter() - start, flush=True)
"""


class Life:
    """One run of a system's script, up to its first result when `__init__` returns."""

    def __init__(self, script: Path) -> None:
        start = time.perf_counter()
        self.process = subprocess.Popen(
            [sys.executable, str(script)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._read() == "42"
        self.first_result_s = time.perf_counter() - start

    def use_all_workers(self) -> None:
        assert self._ask() == "8"

    def shut_down(self) -> float:
        """Return the seconds that the system's own shutdown took."""
        return float(self._ask())

    def exit(self) -> None:
        assert self.process.wait() == 0

    def _ask(self) -> str:
        assert self.process.stdin is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        return self._read()

    def _read(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()


@contextmanager
def script_of(system: Adapter) -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as folder:
        script = Path(folder, "first_result.py")
        script.write_text(FUNCTIONS + system.setup + ACTS)
        yield script


def start(system: Adapter, size: Size) -> Measures:
    shutdowns: list[float] = []
    exits: list[float] = []

    def first_result() -> float:
        life = Life(script)
        life.use_all_workers()
        begin = time.perf_counter()
        shutdowns.append(life.shut_down())
        life.exit()
        exits.append(time.perf_counter() - begin)
        return life.first_result_s

    rounds = size(10, 3)
    with script_of(system) as script:
        first_result()  # fills the caches of files and bytecode
        shutdowns.clear()
        exits.clear()
        first = statistics.median(clock.samples(first_result, rounds))
    imports = clock.samples(lambda: import_seconds(system.module), rounds)
    return {
        "first_result_s": first,
        "import_s": statistics.median(imports),
        "shutdown_s": statistics.median(shutdowns),
        "exit_s": statistics.median(exits),
    }


def import_seconds(module: str) -> float:
    """Import the module in a fresh interpreter; return the seconds that the statement took."""
    source = (
        "import time; start = time.perf_counter(); "
        f"import {module}; print(time.perf_counter() - start)"
    )
    run = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True, check=True)
    return float(run.stdout)


def idle_memory(system: Adapter, size: Size) -> Measures:
    with script_of(system) as script:
        life = Life(script)
        life.use_all_workers()
        time.sleep(SETTLE_S)
        # Orphans of the script are ours, so the tree is counted from here, less ourselves.
        me = os.getpid()
        tree = [pid for pid in processes.descendants(me) if pid != me]
        pss = sum(processes.pss_bytes(pid) for pid in tree)
        life.shut_down()
        life.exit()
    return {"pss_mb": pss / 1e6, "processes": float(len(tree))}


WORKLOADS: Final = (
    Workload(
        "start",
        "a script of its own: process start to first result, the import in it, shutdown, exit",
        {
            "first_result_s": SECONDS,
            "import_s": SECONDS,
            "shutdown_s": SECONDS,
            "exit_s": SECONDS,
        },
        start,
    ),
    Workload(
        "idle_memory",
        "the same script idle after both workers have run tasks: PSS of its process tree",
        {"pss_mb": MEGABYTES, "processes": COUNT},
        idle_memory,
    ),
)
