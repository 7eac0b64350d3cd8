"""Where the order of things matters: wait, uneven tasks, tasks that make tasks, a tree of refs."""

from __future__ import annotations

import random
import statistics
from typing import Final

from benchmarks import clock, tasks
from benchmarks.adapter import Adapter, Ref
from benchmarks.workload import MILLISECONDS, TIMES_LOW, Measures, Size, Workload

ROUNDS: Final = 3
WARM_UP_TASKS: Final = 100

# With this seed two workers that always take the next task end within 0.2 % of the ideal, for
# 400 tasks and for 100, so what is above that is the system's.
TAIL_SEED: Final = 2
TAIL_SHAPE: Final = 1.5  # of the Pareto distribution: a mean, but no variance
SHORTEST_S: Final = 0.003
LONGEST_S: Final = 0.4

CHILDREN: Final = 4
TREE_LEAVES: Final = 512


def wait_one_by_one(system: Adapter, size: Size) -> Measures:
    count = size(1_000, 300)
    with system.started():
        submit = system.task(tasks.noop)
        system.gather([submit(index) for index in range(WARM_UP_TASKS)])

        def consume() -> None:
            values = []
            refs = [submit(index) for index in range(count)]
            while refs:
                done, refs = system.wait(refs)
                values.append(system.get(done[0]))
            assert sorted(values) == list(range(count))

        seconds = statistics.median(clock.timings(consume, ROUNDS))
    return {"total_ms": seconds * 1e3}


def tail_seconds(count: int) -> list[float]:
    draw = random.Random(TAIL_SEED)
    return [min(LONGEST_S, SHORTEST_S * draw.paretovariate(TAIL_SHAPE)) for _ in range(count)]


def heavy_tail(system: Adapter, size: Size) -> Measures:
    durations = tail_seconds(size(400, 100))
    with system.started(num_cpus=2):
        submit = system.task(tasks.sleep_for)
        system.gather([submit(0.0) for _ in range(WARM_UP_TASKS)])

        def over_ideal() -> float:
            start = clock.now()
            slept = system.gather([submit(seconds) for seconds in durations])
            ideal: float = max(max(slept), sum(slept) / 2)
            return (clock.now() - start) / ideal

        ratio = statistics.median(clock.samples(over_ideal, ROUNDS))
    return {"over_ideal": ratio}


def spawn_and_gather(system: Adapter, size: Size) -> Measures:
    one_cpu = spawning_seconds(system, size(200, 30), num_cpus=1)
    two_cpus = spawning_seconds(system, size(200, 30), num_cpus=2)
    return {"one_cpu_ms": one_cpu * 1e3, "two_cpus_ms": two_cpus * 1e3}


def spawning_seconds(system: Adapter, count: int, num_cpus: int) -> float:
    with system.started(num_cpus):
        submit = system.task(system.nested_task())
        system.gather([submit(CHILDREN) for _ in range(10)])

        def spawn() -> None:
            sums = system.gather([submit(CHILDREN) for _ in range(count)])
            assert sums == [sum(range(CHILDREN))] * count

        return statistics.median(clock.timings(spawn, ROUNDS))


def tree(system: Adapter, size: Size) -> Measures:
    leaves = size(TREE_LEAVES, TREE_LEAVES // 8)
    with system.started():
        add = system.combine(tasks.add)
        make = system.task(tasks.small_array)
        system.gather([add(make(1), make(2)) for _ in range(10)])

        def add_up() -> None:
            level: list[Ref] = [make(index) for index in range(leaves)]
            while len(level) > 1:
                level = [add(*level[at : at + 2]) for at in range(0, len(level), 2)]
            assert system.get(level[0])[0] == sum(range(leaves))

        seconds = statistics.median(clock.timings(add_up, ROUNDS))
    return {"total_ms": seconds * 1e3}


WORKLOADS: Final = (
    Workload(
        "wait_one_by_one",
        "1,000 no-op tasks, consumed one at a time by wait(num_returns=1) and get",
        {"total_ms": MILLISECONDS},
        wait_one_by_one,
        awake=True,
    ),
    Workload(
        "heavy_tail",
        "400 sleeps of Pareto length: time / the larger of the longest and half the sum",
        {"over_ideal": TIMES_LOW},
        heavy_tail,
        awake=True,
    ),
    Workload(
        "spawn_and_gather",
        "200 tasks that each submit 4 no-op tasks and get them, on 1 CPU and on 2",
        {"one_cpu_ms": MILLISECONDS, "two_cpus_ms": MILLISECONDS},
        spawn_and_gather,
        awake=True,
    ),
    Workload(
        "tree",
        "512 arrays of 800 bytes made by tasks and added up in pairs by ref, to one",
        {"total_ms": MILLISECONDS},
        tree,
        awake=True,
    ),
)
