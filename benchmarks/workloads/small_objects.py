"""Small objects, put and got one by one."""

from __future__ import annotations

import statistics
from typing import Final

from benchmarks import clock
from benchmarks.adapter import Adapter
from benchmarks.workload import PER_SECOND, Measures, Size, Workload

OBJECT_BYTES: Final = 100
WARM_UP_OBJECTS: Final = 300
ROUNDS: Final = 5


def put_and_get_small(system: Adapter, size: Size) -> Measures:
    count = size(10_000, 2_000)
    values = [index.to_bytes(8, "little").ljust(OBJECT_BYTES, b"\0") for index in range(count)]
    puts, gets = [], []
    with system.started():
        for value in values[:WARM_UP_OBJECTS]:
            assert system.get(system.put(value)) == value
        for _ in range(ROUNDS):
            start = clock.now()
            refs = [system.put(value) for value in values]
            middle = clock.now()
            got = [system.get(ref) for ref in refs]
            end = clock.now()
            assert got == values
            puts.append(middle - start)
            gets.append(end - middle)
    return {
        "puts_per_s": count / statistics.median(puts),
        "gets_per_s": count / statistics.median(gets),
    }


WORKLOADS: Final = (
    Workload(
        "small_objects",
        "10,000 objects of 100 bytes put one by one, then got one by one",
        {"puts_per_s": PER_SECOND, "gets_per_s": PER_SECOND},
        put_and_get_small,
    ),
)
