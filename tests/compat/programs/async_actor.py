"""An actor with coroutines, and a program that awaits refs."""

import asyncio

import ray


@ray.remote
class Gate:
    def __init__(self):
        self.opened = asyncio.Event()
        self.waiting = 0

    async def open(self):
        self.opened.set()

    async def wait(self):
        self.waiting += 1
        await self.opened.wait()
        return self.waiting

    async def count(self):
        return self.waiting


@ray.remote(max_concurrency=2)
class Threaded:
    def double(self, number):
        return 2 * number


@ray.remote
def increase(number):
    return number + 1


async def main():
    gate = Gate.remote()
    waiting = [gate.wait.remote() for _ in range(3)]
    while await gate.count.remote() < 3:
        pass
    await gate.open.remote()
    print(await asyncio.gather(*waiting))
    print(await increase.remote(1), await asyncio.wrap_future(increase.remote(2).future()))
    threaded = Threaded.remote()
    print(await asyncio.gather(threaded.double.remote(1), threaded.double.remote(2)))


ray.init(num_cpus=2)
asyncio.run(main())
ray.shutdown()

# prints:
# [3, 3, 3]
# 2 3
# [2, 4]
