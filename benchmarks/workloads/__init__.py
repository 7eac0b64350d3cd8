"""The named workloads, in the order in which they are run and printed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from benchmarks.workload import Workload
from benchmarks.workloads import (
    calls,
    large_objects,
    lifecycle,
    memory,
    real_jobs,
    scheduling,
    small_objects,
)

WORKLOADS: Final[Mapping[str, Workload]] = {
    workload.name: workload
    for module in (calls, lifecycle, large_objects, small_objects, scheduling, memory, real_jobs)
    for workload in module.WORKLOADS
}
