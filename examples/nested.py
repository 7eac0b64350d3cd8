"""Tasks that start tasks and wait for them: merge sort, down to lists worth sorting in one go.

Prints:

    sorted: True
"""

import heapq
import random

import flame_remote as flame


@flame.remote
def merge_sort(numbers: list[float]) -> list[float]:
    if len(numbers) <= 5_000:
        return sorted(numbers)
    middle = len(numbers) // 2
    halves = [merge_sort.remote(numbers[:middle]), merge_sort.remote(numbers[middle:])]
    return list(heapq.merge(*flame.get(halves)))


numbers = [random.random() for _ in range(40_000)]
print("sorted:", flame.get(merge_sort.remote(numbers)) == sorted(numbers))
