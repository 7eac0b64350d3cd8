"""Handles results in the order in which they come, and bounds how many are awaited."""

import ray


@ray.remote
def work(number):
    return number


ray.init(num_cpus=2)

# Results as they come.
waiting = [work.remote(number) for number in range(10)]
total = 0
while waiting:
    ready, waiting = ray.wait(waiting)
    total += ray.get(ready[0])
print(total)

# Back-pressure: never more than three under way.
waiting, most, seen = [], 0, []
for number in range(12):
    if len(waiting) >= 3:
        ready, waiting = ray.wait(waiting, num_returns=1)
        seen += ray.get(ready)
    waiting.append(work.remote(number))
    most = max(most, len(waiting))
seen += ray.get(waiting)
print(most, sorted(seen) == list(range(12)))

# Several at a time, and what is there already.
ready, waiting = ray.wait([work.remote(n) for n in range(4)], num_returns=2, timeout=30)
print(len(ready), len(waiting))
print(ray.wait([], timeout=0))
ray.shutdown()

# prints:
# 45
# 3 True
# 2 2
# ([], [])
