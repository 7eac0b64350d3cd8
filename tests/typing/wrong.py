"""Uses that are wrong: every line marked `# wrong` must be reported, and no other. Never run."""

from __future__ import annotations

import flame_remote as flame


@flame.remote
def square(x: float) -> float:
    return x * x


@flame.remote(num_cpus=2)
def scale(x: float, factor: float = 2.0, *, offset: int = 0) -> str:
    return f"{x * factor + offset}"


@flame.remote
async def fetch(url: str) -> bytes:
    return url.encode()


class Counter(flame.Actor):
    def __init__(self, start: int = 0) -> None:
        self.value = start

    @flame.method
    def add(self, n: int, *, times: int = 1) -> int:
        return self.value + n * times

    @flame.method
    async def later(self, seconds: float) -> str:
        return f"{seconds}"


class Plain:
    def add(self, n: int) -> int:
        return n


# Arguments of functions.
square.remote()  # wrong: one is missing
square.remote("3")  # wrong: its type
square.remote(1, 2)  # wrong: one too many
square.remote(y=1)  # wrong: no such parameter
square.remote(x="3")  # wrong: its type, by keyword
scale.remote(1, 2, 3)  # wrong: offset is by keyword only
scale.remote(1, factor="2")  # wrong: its type
scale.remote(1, offset=0.5)  # wrong: its type
scale.remote(factor=2)  # wrong: x is missing
fetch.remote(3)  # wrong: its type
square("3")  # wrong: its type, in a local call
square.local()  # wrong: one is missing
square.options(num_cpus=2).remote("3")  # wrong: its type, under options

# Results.
text: str = flame.get(square.remote(1))  # wrong: a float
ref: flame.ObjectRef[int] = square.remote(1)  # wrong: a ref of a float
square.remote(1).upper()  # wrong: get is missing
square.remote(1) + 1  # wrong: get is missing
flame.get(square.remote(1)).upper()  # wrong: a float has none
data: str = flame.get(fetch.remote("url"))  # wrong: bytes
numbers: list[str] = flame.get([square.remote(1)])  # wrong: floats
first, second = flame.get((square.remote(1), square.remote(2), square.remote(3)))  # wrong: three
for _ in square.remote(1):  # wrong: a ref is not its value
    pass

# Verbs.
flame.get(square(3))  # wrong: remote is missing
flame.get([square(3)])  # wrong: remote is missing
flame.get(square)  # wrong: a function
flame.get(square.remote(1), 2.0)  # wrong: timeout is by keyword only
flame.get(square.remote(1), timeout="2")  # wrong: its type
flame.wait(square.remote(1))  # wrong: no list
flame.wait([square.remote(1)], num_return=1)  # wrong: no such parameter
flame.cancel(3)  # wrong: no ref
flame.init(num_cpu=2)  # wrong: no such setting
flame.init(num_cpus="2")  # wrong: its type

# Options.
square.options(num_cpu=2)  # wrong: no such option
square.options(num_cpus="2")  # wrong: its type
square.options(max_concurrency=2)  # wrong: an option of classes
flame.remote(num_cpu=2)  # wrong: no such option
flame.remote(max_retries="3")  # wrong: its type

# Actors.
counter = Counter.remote(1)
Counter.remote("1")  # wrong: its type
Counter.remote(1, 2)  # wrong: one too many
Counter.remote(begin=1)  # wrong: no such parameter
Counter.options(num_cpu=1)  # wrong: no such option
Counter.options(num_cpus=1).remote("1")  # wrong: its type, under options
counter.add.remote()  # wrong: one is missing
counter.add.remote("1")  # wrong: its type
counter.add.remote(1, 2)  # wrong: times is by keyword only
counter.add.remote(1, times="2")  # wrong: its type
counter.subtract.remote(1)  # wrong: no such method
counter.later.remote("1")  # wrong: its type
total: str = flame.get(counter.add.remote(1))  # wrong: an int
counter.add.remote(1) + 1  # wrong: get is missing
counter.add.options(names="a")  # wrong: no such option
flame.remote(Plain).remote(1).add.remote(1).get(timeout="1")  # wrong: its type
