"""Functions and classes: the first steps."""

import ray

ray.init()


@ray.remote
def cube(number):
    return number**3


print(ray.get([cube.remote(n) for n in range(5)]))


@ray.remote
class Tally:
    def __init__(self):
        self.total = 0

    def more(self, amount=1):
        self.total += amount

    def read(self):
        return self.total


tallies = [Tally.remote() for _ in range(2)]
for tally in tallies:
    tally.more.remote()
    tally.more.remote(amount=4)
print(ray.get([tally.read.remote() for tally in tallies]))
ray.shutdown()
print(ray.is_initialized())

# prints:
# [0, 1, 8, 27, 64]
# [5, 5]
# False
