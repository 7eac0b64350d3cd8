"""No-op calls: many, and one at a time; tasks and actors."""

from __future__ import annotations

import statistics
from functools import partial
from typing import Final

from benchmarks import clock, tasks
from benchmarks.adapter import Adapter, Submit
from benchmarks.workload import (
    MICROSECONDS,
    PER_SECOND,
    TIMES_LOW,
    Measures,
    Size,
    Workload,
)

WARM_UP_CALLS: Final = 300
LATENCY_CALLS: Final = 3_000
ROUNDS: Final = 5


def tasks_per_second(count: int, quick_count: int, system: Adapter, size: Size) -> Measures:
    count = size(count, quick_count)
    with system.started():
        submit = system.task(tasks.noop)
        system.gather([submit(index) for index in range(WARM_UP_CALLS)])

        def submit_then_get() -> None:
            refs = [submit(index) for index in range(count)]
            assert system.gather(refs) == list(range(count))

        seconds = statistics.median(clock.timings(submit_then_get, ROUNDS))
    return {"tasks_per_s": count / seconds}


def lone_task(system: Adapter, size: Size) -> Measures:
    with system.started():
        return lone_calls(system, system.task(tasks.noop), size)


def lone_calls(system: Adapter, submit: Submit, size: Size) -> Measures:
    """Time calls of which each is waited for before the next one is made."""
    for _ in range(size(WARM_UP_CALLS, WARM_UP_CALLS // 3)):
        system.get(submit(1))
    seconds = clock.timings(lambda: system.get(submit(1)), size(LATENCY_CALLS, LATENCY_CALLS // 6))
    p50, p99 = clock.quantile(seconds, 0.50), clock.quantile(seconds, 0.99)
    return {"p50_us": p50 * 1e6, "p99_us": p99 * 1e6, "p99_over_p50": p99 / p50}


def actor_sync(system: Adapter, size: Size) -> Measures:
    with system.started():
        submit = system.actor_method(tasks.Counter, "add")
        return lone_calls(system, submit, size)


def actor_pipelined(system: Adapter, size: Size) -> Measures:
    count = size(20_000, 2_000)
    with system.started():
        submit = system.actor_method(tasks.Counter, "add")
        system.gather([submit(0) for _ in range(WARM_UP_CALLS)])

        def submit_then_get() -> None:
            totals = system.gather([submit(1) for _ in range(count)])
            assert totals == list(range(totals[0], totals[0] + count))

        seconds = statistics.median(clock.timings(submit_then_get, ROUNDS))
    return {"calls_per_s": count / seconds}


LATENCY_METRICS: Final = {"p50_us": MICROSECONDS, "p99_us": MICROSECONDS, "p99_over_p50": TIMES_LOW}

WORKLOADS: Final = (
    Workload(
        "submit_10k",
        "10,000 no-op tasks submitted one by one, then get",
        {"tasks_per_s": PER_SECOND},
        partial(tasks_per_second, 10_000, 2_000),
    ),
    Workload(
        "submit_100k",
        "100,000 no-op tasks submitted one by one, then get",
        {"tasks_per_s": PER_SECOND},
        partial(tasks_per_second, 100_000, 10_000),
    ),
    Workload(
        "lone_task",
        "a no-op task and its result, 3,000 times after warm-up, never two at once",
        LATENCY_METRICS,
        lone_task,
        awake=True,
    ),
    Workload(
        "actor_sync",
        "an actor call and its result, 3,000 times after warm-up, never two at once",
        LATENCY_METRICS,
        actor_sync,
        awake=True,
    ),
    Workload(
        "actor_pipelined",
        "20,000 calls of one actor submitted one by one, then get",
        {"calls_per_s": PER_SECOND},
        actor_pipelined,
    ),
)
