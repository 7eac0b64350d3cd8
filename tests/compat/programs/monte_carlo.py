"""Estimates pi by throwing darts, with an actor that is told how far everybody is."""

import random

import ray


@ray.remote
class Progress:
    def __init__(self, total):
        self.total = total
        self.done_by = {}

    def report(self, thrower, done):
        self.done_by[thrower] = done

    def share(self):
        return sum(self.done_by.values()) / self.total


@ray.remote
def throw(darts, thrower, progress):
    generator = random.Random(thrower)
    inside = 0
    for number in range(1, darts + 1):
        inside += generator.random() ** 2 + generator.random() ** 2 <= 1
        if number % 500 == 0:
            progress.report.remote(thrower, number)
    return inside


ray.init(num_cpus=2)
THROWERS, DARTS = 4, 2000
progress = Progress.remote(THROWERS * DARTS)
thrown = [throw.remote(DARTS, number, progress) for number in range(THROWERS)]
while True:
    share = ray.get(progress.share.remote())
    ready, _ = ray.wait(thrown, num_returns=len(thrown), timeout=0.05)
    if len(ready) == len(thrown):
        break
pi = 4 * sum(ray.get(thrown)) / (THROWERS * DARTS)
print(3.0 < pi < 3.3, 0 <= share <= 1)
ray.shutdown()

# prints:
# True True
