"""The command line; see README.md beside this file."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from benchmarks import record
from benchmarks.adapters import ON_CLUSTER, SYSTEMS
from benchmarks.machine import ROOT
from benchmarks.report import LEGEND, reference_of, workload_table
from benchmarks.suite import Suite
from benchmarks.workloads import CLUSTER_WORKLOADS, EVERY_WORKLOAD, WORKLOADS


def parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="Run the workloads on flame_remote and its peers, and print them side by side.",
        epilog=f"workloads: {' '.join(EVERY_WORKLOAD)}; systems: {' '.join(SYSTEMS)}",
    )
    add = parser.add_argument
    add("--only", nargs="+", default=None, choices=EVERY_WORKLOAD, metavar="WORKLOAD")
    add("--systems", nargs="+", default=None, choices=SYSTEMS, metavar="SYSTEM")
    add("--cluster", action="store_true", help="a Flame cluster: its workloads and its clients")
    add("--quick", action="store_true", help="small sizes: is everything alive? no conclusions")
    add("--repeats", type=int, default=1, help="processes per pair; the median is taken")
    add("--timeout", type=float, default=600.0, help="seconds for one pair (default 600)")
    add("--ray-python", metavar="PATH", help="the interpreter that has Ray; as --python ray=PATH")
    add(
        "--python",
        action="append",
        default=[],
        type=system_and_path,
        metavar="SYSTEM=PATH",
        help="the interpreter that has the system, where it is not this one",
    )
    add("--json", type=Path, metavar="FILE", help="write the results there")
    add("--save", action="store_true", help="write them to benchmarks/results/<date>-<commit>.json")
    options = parser.parse_args()
    if options.only is None:
        options.only = list(CLUSTER_WORKLOADS if options.cluster else WORKLOADS)
    if options.systems is None:
        options.systems = [name for name in SYSTEMS if (name in ON_CLUSTER) == options.cluster]
    if options.save and options.quick:
        parser.error("--save keeps full runs only")
    return options


def system_and_path(text: str) -> tuple[str, str]:
    system, equals, path = text.partition("=")
    if not equals or system not in SYSTEMS:
        raise argparse.ArgumentTypeError(f"expected SYSTEM=PATH, got {text!r}")
    return system, path


def main() -> None:
    options = parse_options()
    pythons = dict(options.python)
    if options.ray_python:
        pythons["ray"] = options.ray_python
    about = record.new_record(options.quick, options.repeats)
    suite = Suite(
        systems=options.systems,
        workloads=options.only,
        pythons=pythons,
        quick=options.quick,
        repeats=options.repeats,
        timeout_s=options.timeout,
    )
    print(f"commit {about['commit']}, {about['machine']}\n", flush=True)
    results = []
    for of_workload in suite.run():
        results += of_workload
        print(workload_table(of_workload), flush=True)
    if reference := reference_of(results):
        print(LEGEND.format(reference=reference))

    text = json.dumps(record.finish(about, results), indent=1) + "\n"
    if options.json:
        options.json.write_text(text)
    if options.save:
        path = record.saved_path(about)
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        print(f"saved to {path.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
