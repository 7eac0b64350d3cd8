"""Adds numbers pair by pair; refs are passed on without being fetched."""

import ray


@ray.remote
def add(left, right):
    return left + right


ray.init(num_cpus=2)
line = ray.put(0)
for number in range(1, 9):
    line = add.remote(line, number)  # one after the other
print(ray.get(line))

values = [ray.put(number) for number in range(1, 9)]
while len(values) > 1:  # as a tree
    values = [*values[2:], add.remote(values[0], values[1])]
print(ray.get(values[0]))
ray.shutdown()

# prints:
# 36
# 36
