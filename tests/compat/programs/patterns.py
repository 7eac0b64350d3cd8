"""Patterns: a tree of actors, batches for tiny tasks, resources as limits, handles of one store."""

import ray


@ray.remote
class Trainer:
    def __init__(self, rate):
        self.rate = rate

    def train(self):
        return self.rate * 2


@ray.remote
class Supervisor:
    def __init__(self, rates):
        self.trainers = [Trainer.remote(rate) for rate in rates]

    def train(self):
        return ray.get([trainer.train.remote() for trainer in self.trainers])


def tiny(number):
    return number + 1


@ray.remote
def many(numbers):
    return [tiny(number) for number in numbers]


@ray.remote(resources={"database": 1}, num_cpus=0)
def query(number):
    return number


ray.init(num_cpus=2, resources={"database": 2})
print(ray.get(Supervisor.remote([1, 2, 3]).train.remote()))
batches = ray.get([many.remote(range(n, n + 10)) for n in range(0, 40, 10)])
print(len(batches), batches[-1][-1])
print(ray.get([query.remote(n) for n in range(5)]), ray.cluster_resources()["database"])
print(ray.get(many.options(name="named", num_cpus=0.5).remote([1])))
ray.shutdown()

# prints:
# [2, 4, 6]
# 4 40
# [0, 1, 2, 3, 4] 2.0
# [2]
