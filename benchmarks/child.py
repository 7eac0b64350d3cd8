"""Run one workload on one system in this process, and write the result to a file as JSON.

python -m benchmarks.child SYSTEM WORKLOAD RESULT_FILE [--quick]
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import traceback
from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path

from benchmarks import adapters, processes
from benchmarks.adapter import CannotDo
from benchmarks.awake import awake_cores
from benchmarks.result import Result, one_line
from benchmarks.workload import Workload, pick_size
from benchmarks.workloads import EVERY_WORKLOAD


def run(system: str, workload: Workload, quick: bool) -> Result:
    """Never raises for what the system does; the traceback goes to standard error."""
    try:
        adapter = adapters.load(system)
    except ImportError as error:
        return Result(system, workload.name, "missing", reason=one_line(error))
    except Exception as error:
        traceback.print_exc()
        return Result(system, workload.name, "failed", reason=one_line(error))
    try:
        with awake_cores() if workload.awake else nullcontext("no") as awake:
            metrics = workload.measure(adapter, pick_size(quick))
    except CannotDo as error:
        return Result(system, workload.name, "cannot", reason=str(error))
    except Exception as error:
        traceback.print_exc()
        return Result(system, workload.name, "failed", reason=one_line(error))
    versions = {"python": platform.python_version()}
    if version := adapter.version():
        versions[system] = version
    return Result(system, workload.name, "ok", metrics, awake=awake, versions=versions)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("system")
    parser.add_argument("workload")
    parser.add_argument("result_file", type=Path)
    parser.add_argument("--quick", action="store_true")
    options = parser.parse_args()
    processes.adopt_orphans()
    result = run(options.system, EVERY_WORKLOAD[options.workload], options.quick)
    options.result_file.write_text(json.dumps(asdict(result)))
    if result.status == "failed":
        os._exit(1)  # its threads and exit handlers may wait for ever


if __name__ == "__main__":
    main()
