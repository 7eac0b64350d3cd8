"""A fixed number of actors takes work in turn."""

import ray
from ray.util import ActorPool


@ray.remote
class Doubler:
    def double(self, number):
        return 2 * number


ray.init(num_cpus=2)
pool = ActorPool([Doubler.remote(), Doubler.remote()])
print(list(pool.map(lambda actor, number: actor.double.remote(number), [1, 2, 3, 4])))
print(sorted(pool.map_unordered(lambda actor, number: actor.double.remote(number), [5, 6, 7])))
pool.submit(lambda actor, number: actor.double.remote(number), 10)
print(pool.has_next(), pool.get_next(timeout=30), pool.has_next())
ray.shutdown()

# prints:
# [2, 4, 6, 8]
# [10, 12, 14]
# True 20 False
