"""What flame_remote must reach and aims at, as data; every target is judged within one run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from benchmarks.result import Result
from benchmarks.workloads import EVERY_WORKLOAD

SUBJECT: Final = "flame_remote"


@dataclass(frozen=True, slots=True)
class Target:
    """Bounds for a metric, or for its ratio to the best of the systems `against`.

    Where more is better the bounds are lower bounds, else upper bounds.
    """

    workload: str
    metric: str
    against: tuple[str, ...] = ()
    must: float | None = None
    aim: float | None = None

    @property
    def more_is_better(self) -> bool:
        return EVERY_WORKLOAD[self.workload].metrics[self.metric].better == "higher"

    def is_met(self, value: float, bound: float) -> bool:
        return value >= bound if self.more_is_better else value <= bound


@dataclass(frozen=True, slots=True)
class Verdict:
    """`value` is the metric or the ratio; None where a figure is missing."""

    target: Target
    value: float | None
    must_met: bool | None
    aim_met: bool | None


RAY: Final = ("ray",)
PROTOTYPE: Final = ("prototype",)
POOLS: Final = ("joblib", "multiprocessing")

TARGETS: Final = (
    Target("submit_10k", "tasks_per_s", RAY, must=40),
    Target("submit_10k", "tasks_per_s", ("process_pool",), must=8),
    Target("submit_10k", "tasks_per_s", PROTOTYPE, aim=0.5),
    Target("submit_100k", "tasks_per_s", RAY, must=40),
    Target("submit_100k", "tasks_per_s", ("process_pool",), must=8),
    Target("submit_100k", "tasks_per_s", PROTOTYPE, aim=0.5),
    Target("lone_task", "p50_us", RAY, must=1 / 10),
    Target("lone_task", "p50_us", PROTOTYPE, aim=1.5),
    Target("lone_task", "p99_over_p50", must=4),
    Target("actor_sync", "p50_us", RAY, must=1 / 5),
    Target("actor_pipelined", "calls_per_s", RAY, must=25),
    Target("start", "first_result_s", must=0.25, aim=0.15),
    Target("start", "import_s", must=0.060),
    Target("start", "shutdown_s", must=0.1),
    Target("idle_memory", "pss_mb", must=40, aim=25),
    Target("put_large", "share_of_copy_speed", must=0.5, aim=0.9),
    Target("get_large", "first_ms", RAY, must=1),
    Target("get_large", "again_ms", must=1.5, aim=0.5),
    Target("share_large", "above_work_ms", must=1, aim=0.3),
    Target("return_large", "return_ms", RAY, must=1),
    Target("return_large", "plain_copies", aim=2),
    Target("small_objects", "puts_per_s", RAY, must=20),
    Target("small_objects", "gets_per_s", RAY, must=15, aim=40),
    Target("wait_one_by_one", "total_ms", RAY, must=1 / 15),
    Target("heavy_tail", "over_ideal", must=1.10, aim=1.05),
    Target("spawn_and_gather", "one_cpu_ms", RAY, must=1 / 10, aim=1 / 30),
    Target("spawn_and_gather", "two_cpus_ms", RAY, must=1 / 10, aim=1 / 30),
    Target("tree", "total_ms", RAY, must=1 / 10),
    Target("pending_memory", "bytes_per_task", must=1024),
    Target("flat_memory", "growth_mib", must=2),  # "flat": some 10 bytes a task
    Target("job_pi", "total_s", RAY, must=1),
    Target("job_pi", "total_s", POOLS, aim=1.05),
    Target("job_words", "total_s", RAY, must=1),
    Target("job_words", "total_s", POOLS, aim=1.05),
    Target("job_grid", "total_s", RAY, must=1),
    Target("job_grid", "total_s", POOLS, aim=1.05),
    Target("job_scikit", "total_s", ("joblib",), must=1),
)


def judge(target: Target, results: Sequence[Result]) -> Verdict:
    figures = {
        result.system: result.metrics[target.metric]
        for result in results
        if result.workload == target.workload and result.metrics is not None
    }
    value = value_of(target, figures)
    if value is None:
        return Verdict(target, None, None, None)
    must_met = None if target.must is None else target.is_met(value, target.must)
    aim_met = None if target.aim is None else target.is_met(value, target.aim)
    return Verdict(target, value, must_met, aim_met)


def value_of(target: Target, figures: Mapping[str, float]) -> float | None:
    """Return the metric, or its ratio to the best other; None unless every figure is there."""
    if not figures.keys() >= {SUBJECT, *target.against}:
        return None
    if not target.against:
        return figures[SUBJECT]
    others = [figures[name] for name in target.against]
    best = max(others) if target.more_is_better else min(others)
    return figures[SUBJECT] / best
