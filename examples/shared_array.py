"""One array, stored once and used by many tasks, which read it from the same memory.

Prints:

    [4999950000, 14999950000, 24999950000, 34999950000]
"""

import numpy

import flame_remote as flame


@flame.remote
def total(numbers: numpy.ndarray, start: int, stop: int) -> int:
    return int(numbers[start:stop].sum())


numbers = flame.put(numpy.arange(400_000))
print(flame.get([total.remote(numbers, n, n + 100_000) for n in range(0, 400_000, 100_000)]))
