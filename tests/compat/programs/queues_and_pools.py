"""What lies in ray.util: a queue, a pool of processes, results as they come."""

import ray
from ray.util import as_completed, map_unordered
from ray.util.multiprocessing import Pool
from ray.util.queue import Empty, Queue


@ray.remote
def consume(queue):
    taken = []
    while (item := queue.get()) is not None:
        taken.append(item)
    return taken


@ray.remote
def square(number):
    return number * number


ray.init(num_cpus=2)
queue = Queue(maxsize=100)
consumed = consume.remote(queue)
for item in (1, 2, 3, None):
    queue.put(item)
print(ray.get(consumed))
try:
    queue.get_nowait()
except Empty:
    print("empty", queue.size())
queue.shutdown()
print(sorted(as_completed([square.remote(n) for n in range(4)])))
print(sorted(map_unordered(square, range(4), backpressure_size=2)))
with Pool(1) as pool:
    print(pool.map(abs, [-1, -2]), pool.starmap(pow, [(2, 3)]))
ray.shutdown()

# prints:
# [1, 2, 3]
# empty 0
# [0, 1, 4, 9]
# [0, 1, 4, 9]
# [1, 2] [8]
