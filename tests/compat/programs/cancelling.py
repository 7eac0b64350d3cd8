"""Limits of time, and calls that are cancelled."""

import time

import ray
from ray.exceptions import GetTimeoutError, TaskCancelledError


@ray.remote
def long():
    while True:
        time.sleep(0.01)


ray.init(num_cpus=2)
ref = long.remote()
try:
    ray.get(ref, timeout=0.1)
except GetTimeoutError as error:
    print("late", isinstance(error, TimeoutError))
ray.cancel(ref)
try:
    ray.get(ref)
except TaskCancelledError:
    print("cancelled")
ray.shutdown()

# prints:
# late True
# cancelled
