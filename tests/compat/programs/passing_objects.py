"""Where refs become values and where they stay refs; arrays; closures; handles."""

import numpy
import ray


@ray.remote
def kind(value):
    return type(value).__name__


@ray.remote
def first(refs):
    return ray.get(refs[0])


@ray.remote
def add_to(store, number):
    return ray.get(store.add.remote(number))


@ray.remote
class Store:
    def __init__(self, start):
        self.values = [start]

    def add(self, number):
        self.values.append(number)
        return list(self.values)


ray.init(num_cpus=2)
array = ray.put(numpy.arange(100_000))
print(ray.get(kind.remote(array)))  # on top level: its value
print(ray.get(kind.remote([array])), ray.get(first.remote([array])).sum())  # inside: a ref


@ray.remote
def closes_over():
    return int(ray.get(array)[7])


print(ray.get(closes_over.remote()))
store = Store.remote(ray.put(1))
print(ray.get(add_to.remote(store, 2)), ray.get(add_to.remote(store, 3)))
ref = ray.put("text")
again = {ref: "found"}
print(again[ref], ref == ref, len(ref.hex()) == 2 * len(ref.binary()))
try:
    ray.put(ref)
except TypeError:
    print("a ref is not put")
ray.shutdown()

# prints:
# ndarray
# list 4999950000
# 7
# [1, 2] [1, 2, 3]
# found True True
# a ref is not put
