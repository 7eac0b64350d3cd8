"""What users meet when things fail: retries, crashes, errors of their own."""

import os
import tempfile

import ray


@ray.remote(max_retries=5, retry_exceptions=[ConnectionError])
def flaky(folder):
    tries = len(os.listdir(folder)) + 1
    open(os.path.join(folder, str(tries)), "w").close()
    if tries < 3:
        raise ConnectionError("try again")
    return tries


@ray.remote
def strict(number):
    if number < 0:
        raise ValueError("negative")
    return number


@ray.remote
def after(number):
    return number


@ray.remote
class Fragile:
    def work(self):
        return "worked"


ray.init(num_cpus=2)
with tempfile.TemporaryDirectory() as folder:
    print(ray.get(flaky.remote(folder)))

try:
    ray.get(strict.remote(-1))
except ValueError as error:
    print("as ValueError", isinstance(error, ray.exceptions.RayTaskError))

try:
    ray.get(after.remote(strict.remote(-1)))
except ray.exceptions.RayTaskError as error:
    print("as RayTaskError", type(error.cause).__name__, error.cause.args)

fragile = Fragile.remote()
print(ray.get(fragile.work.remote()))
ray.kill(fragile)
try:
    ray.get(fragile.work.remote())
except ray.exceptions.RayActorError as error:
    print("actor", isinstance(error, ray.exceptions.ActorDiedError))
ray.shutdown()

# prints:
# 3
# as ValueError True
# as RayTaskError ValueError ('negative',)
# worked
# actor True
