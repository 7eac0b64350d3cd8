"""Processes that die: the task is tried again, and then its error says so."""

import os
import tempfile

import ray


@ray.remote(max_retries=0)
def dies():
    os._exit(1)


@ray.remote(max_retries=2)
def dies_once(folder):
    mark = os.path.join(folder, "was here")
    if not os.path.exists(mark):
        open(mark, "w").close()
        os._exit(1)
    return "came back"


ray.init(num_cpus=2)
try:
    ray.get(dies.remote())
except ray.exceptions.WorkerCrashedError:
    print("crashed")
with tempfile.TemporaryDirectory() as folder:
    print(ray.get(dies_once.remote(folder)))
ray.shutdown()

# prints:
# crashed
# came back
