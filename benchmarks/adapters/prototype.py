"""The hand-written pools of prototype.py: caller I/O, the same with a spin, an I/O thread."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, ClassVar, Final

from benchmarks.adapter import Adapter, Ref, Submit
from benchmarks.prototype import Prototype, ThreadedPrototype

# Longer than a no-op's round trip, shorter than a user would notice on a busy machine.
SPIN_S: Final = 100e-6

SETUP: Final = """
from benchmarks.prototype import {class_name}
pool = {class_name}({arguments})
def run(function, items):
    return pool.get([pool.submit(function, item) for item in items])
stop = pool.close
"""


class CallerPrototype(Adapter):
    name = "prototype"
    module = "benchmarks.prototype"
    setup = SETUP.format(class_name="Prototype", arguments="2")

    make: ClassVar[Callable[[int], Prototype | ThreadedPrototype]] = Prototype
    _pool: Prototype | ThreadedPrototype

    def start(self, num_cpus: int) -> None:
        self._pool = type(self).make(num_cpus)

    def close(self) -> None:
        self._pool.close()

    def task(self, function: Callable[..., Any]) -> Submit:
        return partial(self._pool.submit, function)

    def get(self, ref: Ref) -> Any:
        return self._pool.get((ref,))[0]

    def gather(self, refs: Sequence[Ref]) -> list[Any]:
        return self._pool.get(refs)


class SpinningPrototype(CallerPrototype):
    name = "prototype_spin"
    setup = SETUP.format(class_name="Prototype", arguments=f"2, spin_s={SPIN_S}")
    make = partial(Prototype, spin_s=SPIN_S)


class ThreadPrototype(CallerPrototype):
    name = "prototype_thread"
    setup = SETUP.format(class_name="ThreadedPrototype", arguments="2")
    make = ThreadedPrototype
