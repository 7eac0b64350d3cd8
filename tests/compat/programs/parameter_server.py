"""Workers send gradients to an actor that keeps the weights of a model."""

import numpy
import ray


@ray.remote
class Weights:
    def __init__(self, size, rate):
        self.weights = numpy.zeros(size)
        self.rate = rate

    def step(self, *gradients):
        self.weights -= self.rate * numpy.mean(gradients, axis=0)
        return self.weights

    def read(self):
        return self.weights


@ray.remote
class Trainer:
    def __init__(self, target):
        self.target = target

    def gradient(self, weights):
        return weights - self.target


ray.init(num_cpus=2)
target = numpy.arange(3.0)
weights = Weights.remote(3, rate=0.5)
trainers = [Trainer.remote(target) for _ in range(2)]

# All steps together.
current = weights.read.remote()
for _ in range(30):
    current = weights.step.remote(*[trainer.gradient.remote(current) for trainer in trainers])
print(abs(ray.get(current).round(3)).tolist())

# Each trainer at its own pace.
current = weights.step.remote(numpy.ones(3))
working = {trainer.gradient.remote(current): trainer for trainer in trainers}
for _ in range(60):
    [ended], _ = ray.wait(list(working))
    trainer = working.pop(ended)
    current = weights.step.remote(ended)
    working[trainer.gradient.remote(current)] = trainer
print(abs(ray.get(weights.read.remote()).round(3)).tolist())
ray.shutdown()

# prints:
# [0.0, 1.0, 2.0]
# [0.0, 1.0, 2.0]
