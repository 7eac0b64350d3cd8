"""Run pairs of (system, workload), each in its own process, one after the other."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from benchmarks import processes
from benchmarks.machine import ROOT
from benchmarks.result import Result, median_of

# For helpers that clean up after their parent; engines are to leave nothing within 2 s.
GRACE_S: Final = 2.0
LOG_LINES: Final = 15  # shown of a failed pair's output

# One thread per process, whoever wrote the numerical library: else the systems compete with BLAS.
ONE_THREAD: Final = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


@dataclass(frozen=True, slots=True)
class Suite:
    systems: Sequence[str]
    workloads: Sequence[str]
    pythons: Mapping[str, str]  # interpreters of the systems that have their own
    quick: bool
    repeats: int
    timeout_s: float  # of one pair

    def run(self) -> Iterator[list[Result]]:
        """Yield per workload a result for each system, measured close together in time.

        Repeats go round the systems, not back to back, so that a drift meets all of them.
        """
        processes.adopt_orphans()
        with tempfile.TemporaryDirectory(prefix="bench-") as folder:
            environment = child_environment(folder)
            for workload in self.workloads:
                rounds = [
                    [
                        self._run_pair(system, workload, Path(folder), environment)
                        for system in self.systems
                    ]
                    for _ in range(self.repeats)
                ]
                yield [median_of(repeats) for repeats in zip(*rounds, strict=True)]

    def _run_pair(
        self, system: str, workload: str, folder: Path, environment: Mapping[str, str]
    ) -> Result:
        print(f"{workload:18} {system:16} ", end="", file=sys.stderr, flush=True)
        start = time.perf_counter()
        result = replace(
            self._run_child(system, workload, folder, environment),
            seconds=round(time.perf_counter() - start, 2),
        )
        reason = f": {result.reason}" if result.reason else ""
        print(f"{result.seconds:7.1f} s  {result.status}{reason}", file=sys.stderr, flush=True)
        return result

    def _run_child(
        self, system: str, workload: str, folder: Path, environment: Mapping[str, str]
    ) -> Result:
        result_file, log_file = folder / "result.json", folder / "log.txt"
        result_file.unlink(missing_ok=True)
        python = self.pythons.get(system, sys.executable)
        command = [python, "-m", "benchmarks.child", system, workload, str(result_file)]
        with log_file.open("wb") as log:
            child = subprocess.Popen(
                command + ["--quick"] * self.quick,
                cwd=ROOT,
                env=dict(environment),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
            try:
                child.wait(self.timeout_s)
            except subprocess.TimeoutExpired:
                reason = f"not done after {self.timeout_s:.0f} s"
                return Result(system, workload, "timeout", reason=reason)
            finally:
                child.kill()  # unless it has ended
                child.wait()
                killed = processes.end_descendants(GRACE_S)
        if killed:
            print(f"left {killed} processes behind, ", end="", file=sys.stderr)
        if not result_file.exists():
            return Result(system, workload, "failed", reason=f"exit status {child.returncode}")
        result = Result(**json.loads(result_file.read_text()))
        if result.status == "failed":
            tail = log_file.read_text(errors="replace").splitlines()[-LOG_LINES:]
            print("", *tail, sep="\n    ", file=sys.stderr)
        return result


def child_environment(folder: str) -> dict[str, str]:
    """Return the environment of the children: our modules importable, files under `folder`.

    Bytecode is cached there too, so that import times are those of an installed package whatever
    the caller's settings are, and nothing is written beside the sources.
    """
    environment = {
        name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"
    }
    python_path = [str(ROOT), *filter(None, [environment.get("PYTHONPATH")])]
    environment |= {
        "PYTHONPATH": os.pathsep.join(python_path),
        "PYTHONPYCACHEPREFIX": os.path.join(folder, "bytecode"),
        "TMPDIR": folder,
        "RAY_USAGE_STATS_ENABLED": "0",
        **dict.fromkeys(ONE_THREAD, "1"),
    }
    return environment
