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
    on_cluster,
    real_jobs,
    scheduling,
    small_objects,
)

WORKLOADS: Final[Mapping[str, Workload]] = {
    workload.name: workload
    for module in (calls, lifecycle, large_objects, small_objects, scheduling, memory, real_jobs)
    for workload in module.WORKLOADS
}
# Run when asked for: on the two systems that are clients of a cluster.
CLUSTER_WORKLOADS: Final[Mapping[str, Workload]] = {
    workload.name: workload for workload in on_cluster.WORKLOADS
}
EVERY_WORKLOAD: Final[Mapping[str, Workload]] = {**WORKLOADS, **CLUSTER_WORKLOADS}
