"""Whole jobs, as a user of each system writes them, beside the same job in a plain loop."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, Final

from benchmarks import clock, jobs
from benchmarks.adapter import NUM_WORKERS, Adapter
from benchmarks.workload import SECONDS, TIMES_HIGH, Measures, Size, Workload

ROUNDS: Final = 3


def measure_job(
    system: Adapter,
    function: Callable[..., Any],
    items: Sequence[Any],
    shared: tuple[Any, ...] = (),
    finish: Callable[[list[Any]], Any] = sum,
) -> Measures:
    """Time map and `finish` on the system and in a loop, in turns; the results must agree."""
    serial, parallel = [], []
    with system.started():
        system.map(function, items[:4], shared)  # workers and their imports
        for _ in range(ROUNDS):
            start = clock.now()
            expected = finish([function(*shared, item) for item in items])
            middle = clock.now()
            result = finish(system.map(function, items, shared))
            end = clock.now()
            assert result == expected
            serial.append(middle - start)
            parallel.append(end - middle)
    total, plain = statistics.median(parallel), statistics.median(serial)
    return {"total_s": total, "serial_s": plain, "speedup": plain / total}


def monte_carlo_pi(system: Adapter, size: Size) -> Measures:
    items = [(seed, size(250_000, 50_000)) for seed in range(size(64, 16))]
    return measure_job(system, jobs.points_inside, items)


def word_count(system: Adapter, size: Size) -> Measures:
    paths = jobs.standard_library_sources()[: size(10_000, 200)]

    def merge(counters: list[Counter[str]]) -> Counter[str]:
        total: Counter[str] = Counter()
        for counter in counters:
            total.update(counter)
        return total

    return measure_job(system, jobs.count_words, paths, finish=merge)


def grid_search(system: Adapter, size: Size) -> Measures:
    import numpy as np

    draw = np.random.default_rng(0)
    features = draw.standard_normal((size(12_000, 1_000), 80))
    target = features @ draw.standard_normal(80) + draw.standard_normal(len(features))
    penalties = np.logspace(-3, 3, size(40, 8)).tolist()
    candidates = [(penalty, fold) for penalty in penalties for fold in range(jobs.FOLDS)]

    def best(errors: list[float]) -> tuple[float, int]:
        return candidates[errors.index(min(errors))]

    return measure_job(system, jobs.ridge_error, candidates, (features, target), best)


def scikit_learn_grid(system: Adapter, size: Size) -> Measures:
    """Time a grid search of scikit-learn, whose n_jobs are the system's workers."""
    backend = system.joblib_backend()
    import numpy as np
    from joblib import parallel_config
    from sklearn.linear_model import Ridge
    from sklearn.model_selection import GridSearchCV

    draw = np.random.default_rng(0)
    features = draw.standard_normal((size(12_000, 500), 80))
    target = features @ draw.standard_normal(80) + draw.standard_normal(len(features))
    candidates = {"alpha": np.logspace(-3, 3, size(40, 4))}

    def search(n_jobs: int) -> float:
        search = GridSearchCV(Ridge(), candidates, cv=jobs.FOLDS, n_jobs=n_jobs)
        return float(search.fit(features, target).best_score_)

    serial, parallel = [], []
    with system.started(), parallel_config(backend=backend):
        search(NUM_WORKERS)  # workers and their imports
        for _ in range(ROUNDS):
            start = clock.now()
            expected = search(1)
            middle = clock.now()
            found = search(NUM_WORKERS)
            end = clock.now()
            assert abs(found - expected) < 1e-9
            serial.append(middle - start)
            parallel.append(end - middle)
    total, plain = statistics.median(parallel), statistics.median(serial)
    return {"total_s": total, "serial_s": plain, "speedup": plain / total}


JOB_METRICS: Final = {"total_s": SECONDS, "serial_s": SECONDS, "speedup": TIMES_HIGH}

WORKLOADS: Final = (
    Workload(
        "job_pi",
        "Monte Carlo pi in pure Python: 64 tasks of 250,000 points",
        JOB_METRICS,
        monte_carlo_pi,
    ),
    Workload(
        "job_words",
        "words of the standard library's own sources: a task per file, counters merged",
        JOB_METRICS,
        word_count,
    ),
    Workload(
        "job_grid",
        "grid search of a ridge regression: 40 penalties by 5 folds over a shared 7.7 MB array",
        JOB_METRICS,
        grid_search,
    ),
    Workload(
        "job_scikit",
        "scikit-learn's grid search of a ridge regression through joblib: 40 penalties by 5 folds",
        JOB_METRICS,
        scikit_learn_grid,
    ),
)
