"""Calls over a Flame cluster, in numbers that the slowest of its clients gets done."""

from __future__ import annotations

import statistics
from typing import Final

from benchmarks import clock, tasks
from benchmarks.adapter import Adapter
from benchmarks.workload import MILLISECONDS, PER_SECOND, Measures, Size, Workload

WARM_UP_CALLS: Final = 20
ROUNDS: Final = 3


def many_tasks(system: Adapter, size: Size) -> Measures:
    count = size(1_000, 200)
    with system.started():
        submit = system.task(tasks.noop)
        system.gather([submit(index) for index in range(WARM_UP_CALLS)])

        def submit_then_get() -> None:
            refs = [submit(index) for index in range(count)]
            assert system.gather(refs) == list(range(count))

        seconds = statistics.median(clock.timings(submit_then_get, ROUNDS))
    return {"tasks_per_s": count / seconds}


def lone_tasks(system: Adapter, size: Size) -> Measures:
    with system.started():
        submit = system.task(tasks.noop)
        for _ in range(WARM_UP_CALLS):
            system.get(submit(1))
        seconds = clock.timings(lambda: system.get(submit(1)), size(300, 50))
    return {
        "p50_ms": clock.quantile(seconds, 0.50) * 1e3,
        "p99_ms": clock.quantile(seconds, 0.99) * 1e3,
    }


WORKLOADS: Final = (
    Workload(
        "cluster_1k",
        "1,000 no-op tasks submitted one by one to a Flame cluster, then get",
        {"tasks_per_s": PER_SECOND},
        many_tasks,
    ),
    Workload(
        "cluster_lone",
        "a no-op task on a Flame cluster and its result, 300 times, never two at once",
        {"p50_ms": MILLISECONDS, "p99_ms": MILLISECONDS},
        lone_tasks,
    ),
)
