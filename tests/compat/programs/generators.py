"""Generators whose items come one by one, as tasks and as methods."""

import ray


@ray.remote
def count(to):
    for number in range(to):
        yield number
        if number == 3:
            raise RuntimeError("no further")


@ray.remote(num_returns=2)
def pair():
    yield "left"
    yield "right"


@ray.remote
class Source:
    def __init__(self):
        self.made = 0

    def items(self, to):
        for number in range(to):
            self.made += 1
            yield number * 10

    @ray.method(num_returns=2)
    def both(self):
        return 1, 2


ray.init(num_cpus=2)
print([ray.get(ref) for ref in count.remote(3)])
try:
    for ref in count.remote(9):
        print(ray.get(ref), end=" ")
except RuntimeError as error:
    print("stopped by", type(error.cause).__name__)
left, right = pair.remote()
print(ray.get([left, right]))

source = Source.remote()
print([ray.get(ref) for ref in source.items.remote(4)])
one, two = source.both.remote()
print(ray.get(one), ray.get(two))

items = count.options(num_returns="streaming").remote(2)
ready, _ = ray.wait([items], timeout=30)
print(ready[0] is items, ray.get(next(items)), isinstance(items, ray.ObjectRefGenerator))
ray.shutdown()

# prints:
# [0, 1, 2]
# 0 1 2 3 stopped by RuntimeError
# ['left', 'right']
# [0, 10, 20, 30]
# 1 2
# True 0 True
