"""Decorated classes, used correctly. For pyright: mypy ignores what a class decorator returns."""

from __future__ import annotations

from typing_extensions import assert_type

import flame_remote as flame


@flame.remote
class Counter:
    def __init__(self, start: int = 0) -> None:
        self.value = start

    def add(self, n: int) -> int:
        self.value += n
        return self.value


@flame.remote(num_cpus=1, max_concurrency=2)
class Tally:
    def count(self, *words: str) -> dict[str, int]:
        return {word: words.count(word) for word in words}


@flame.remote
class Typed(flame.Actor):
    @flame.method
    def show(self, depth: int) -> str:
        return "a" * depth


counter = Counter.remote(10)
counter.add.remote(1)
counter.add.remote(counter.add.remote(2))
counter.add.options(name="adding").remote(1)
Tally.remote().count.remote("a", "b").get()
assert_type(Typed.remote().show.remote(3).get(), str)
assert_type(Counter(3).add(1), int)
Counter.options(num_cpus=2).remote(start=1)
flame.kill(counter)
