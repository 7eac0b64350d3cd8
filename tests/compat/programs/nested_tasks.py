"""A task that starts tasks: quicksort, small lists in place."""

import random

import ray


@ray.remote
def quicksort(numbers):
    if len(numbers) < 50:
        return sorted(numbers)
    middle, *rest = numbers
    lower = quicksort.remote([n for n in rest if n < middle])
    upper = quicksort.remote([n for n in rest if n >= middle])
    return [*ray.get(lower), middle, *ray.get(upper)]


@ray.remote
def starts(count):
    return [quicksort.remote([3, 1, 2]) for _ in range(count)]


ray.init(num_cpus=2)
numbers = random.Random(1).choices(range(10_000), k=300)
print(ray.get(quicksort.remote(numbers)) == sorted(numbers))
print(ray.get(ray.get(starts.remote(2))))  # a task may return refs
ray.shutdown()

# prints:
# True
# [[1, 2, 3], [1, 2, 3]]
