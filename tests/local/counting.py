"""A random program over the engine's objects, and a model that knows every count of it.

The program puts, nests, passes, returns, closes over, borrows in actors and drops refs, over many
processes, of which some are killed. The model never asks the engine: it follows from what each
step means who refers to what. Between steps the two are compared, count for count.
"""

from __future__ import annotations

import gc
import os
import random
import signal
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Final

import numpy

import flame_remote as flame
from flame_remote import _current
from flame_remote._local.engine import LocalEngine
from flame_remote._outcome import Kind

from ..conftest import wait_until

SIZES: Final = (0, 0, 20_000, 200_000)  # inside a message; in shared memory
_SLOTS: Final = 3  # of an actor

# What all values of the program look like: refs, an array or nothing, and a number to know it by.
Value = tuple[list[Any], Any, int]


def make(refs: list[Any], size: int, number: int) -> Value:
    """Make a value."""
    return refs, numpy.full(size, number % 251, numpy.uint8) if size else None, number


def number_of(value: Value) -> int:
    """Return the number of a value, having looked at each of its bytes."""
    _, array, number = value
    if array is not None and not (array == number % 251).all():
        return -1
    return number


# --- what runs in workers -------------------------------------------------------------------------


@flame.remote
def wrap(refs: list[Any], size: int, number: int) -> Value:
    return make(refs, size, number)


@flame.remote
def take(value: Value, other: Value | None = None) -> list[int]:
    """Return the numbers of a value and of those that it refers to."""
    return [number_of(value), *map(number_of, flame.get(value[0]))]


@flame.remote
def pass_on(value: Value) -> Value:
    return value


@flame.remote
def spread(count: int, size: int, number: int) -> Value:
    return make([flame.put(make([], size, number)) for _ in range(count)], 0, number)


@flame.remote
def descend(refs: list[Any], depth: int, number: int) -> Value:
    """Return the ref of a task that returns the ref of a task that returns the refs."""
    if not depth:
        return make(refs, 0, number)
    return make([descend.remote(refs, depth - 1, number)], 20_000, number)


@flame.remote
def close_over_there(refs: list[Any]) -> list[int]:
    @flame.remote
    def look() -> list[int]:
        return [number_of(value) for value in flame.get(refs)]

    return flame.get(look.remote())


@flame.remote
def refuse(refs: list[Any], value: Any) -> None:
    raise ValueError("no")


@flame.remote
def used_bytes_here(gate: Any, number: int) -> tuple[int, int]:
    """Return this worker's pid, and how many bytes of its own memory are in use.

    Waits until so many calls of it run at the same time, each in another worker.
    """
    engine: Any = _current.engine
    used = used_bytes(engine.storage)
    flame.get(gate.meet.remote(number))
    return os.getpid(), used


@flame.remote
class Keeper:
    """Keeps refs in its state."""

    def __init__(self) -> None:
        self.slots: dict[int, list[Any]] = {}

    def keep(self, slot: int, refs: list[Any]) -> None:
        self.slots[slot] = refs

    def forget(self, slot: int) -> None:
        self.slots.pop(slot, None)

    def give(self, slot: int, number: int) -> Value:
        return make(self.slots.get(slot, []), 0, number)

    def make(self, slot: int, size: int, number: int) -> Value:
        self.slots[slot] = [flame.put(make([], size, number))]
        return make(self.slots[slot], 0, number)

    def call(self, slot: int, size: int, number: int) -> Value:
        self.slots[slot] = [wrap.remote(self.slots.get(slot, []), size, number)]
        return make(self.slots[slot], 0, number)

    def pid(self) -> int:
        return os.getpid()


@flame.remote
class Gate:
    """Holds calls up until it is opened."""

    def __init__(self) -> None:
        import asyncio

        self.opened = asyncio.Event()
        self.number = 0

    async def wait(self) -> Value:
        await self.opened.wait()
        return make([], 0, 0)

    async def open(self) -> None:
        self.opened.set()

    async def meet(self, number: int) -> None:
        self.number += 1
        if self.number == number:
            self.opened.set()
        await self.opened.wait()


def used_bytes(storage: Any) -> int:
    """Return how many bytes of a process's own memory are given out."""
    arena = storage._arena
    if arena is None:
        return 0
    with storage.turn:
        storage._take_back(arena)
    segments = arena._segments.values()
    free = sum(block.size for segment in segments for block in segment.free_by_start.values())
    return sum(segment.size for segment in segments) - free


# --- the model ------------------------------------------------------------------------------------


@dataclass(eq=False)
class KeptRefs:
    """An actor, and what the model knows to be in its slots."""

    handle: Any
    slots: dict[int, list[int]] = field(default_factory=dict)


@dataclass(eq=False)
class Closure:
    """A remote function, the refs that it closes over, and the processes that have loaded it."""

    function: Any
    refs: list[Any]
    pids: set[int] = field(default_factory=set)


class World:
    """The program and the model. `step()` does something at random, `check()` compares."""

    def __init__(self, seed: int) -> None:
        engine = _current.engine
        assert isinstance(engine, LocalEngine)
        self.engine = engine
        self.random = random.Random(seed)
        self.log: list[str] = []
        # What the program has.
        self.refs: list[Any] = []
        self.pinned: list[tuple[int, Any]] = []  # arrays that lie in the store, and whose they are
        self.actors: list[KeptRefs] = []
        self.closures: list[Closure] = []
        # What the model knows.
        self.inside: dict[int, list[int]] = {}  # refs inside each value that was ever made
        self.number: dict[int, int] = {}
        self.stored: set[int] = set()  # values that lie in shared memory, or have
        self._numbers = iter(range(1, 1 << 30))
        self.steps: list[Callable[[], None]] = [
            *[self.put, self.wrap, self.take, self.drop] * 3,
            *[self.keep, self.forget, self.give, self.make_there, self.call_there] * 2,
            *[self.get, self.let_go, self.drop, self.drop],
            *[self.spread, self.descend, self.pass_on, self.close_over, self.close_over_there],
            *[self.call_closure, self.drop_closure, self.fail, self.cancel, self.many],
            *[self.new_actor, self.end_actor, self.kill_worker, self.take_large],
        ]

    # --- steps ---

    def step(self) -> None:
        """Do one thing."""
        step = self.random.choice(self.steps)
        self.log.append(step.__name__)
        step()

    def put(self) -> None:
        chosen, size, number = self._some(), self._size(), next(self._numbers)
        self._know(flame.put(make(chosen, size, number)), chosen, number)

    def wrap(self) -> None:
        chosen, size, number = self._some(), self._size(), next(self._numbers)
        self._know(wrap.remote(chosen, size, number), chosen, number)

    def take(self) -> None:
        """Pass a value by its ref at top level."""
        for ref in self._some(1):
            expected = [self.number[i] for i in (ref._id, *self.inside[ref._id])]
            assert flame.get(take.remote(ref, other=ref)) == expected

    def take_large(self) -> None:
        """Pass arguments that do not fit into a message, with refs inside."""
        chosen = self._some()
        value = make(chosen, 300_000, 7)
        assert flame.get(take.remote(value)) == [7, *(self.number[r._id] for r in chosen)]

    def pass_on(self) -> None:
        for ref in self._some(1):
            inside = self.inside[ref._id]
            self._know_ids(pass_on.remote(ref), inside, self.number[ref._id])

    def spread(self) -> None:
        number, count = next(self._numbers), self.random.randrange(4)
        self._look_into(spread.remote(count, self._size(), number), number)

    def descend(self) -> None:
        chosen, number = self._some(), next(self._numbers)
        ref = descend.remote(chosen, 2, number)
        middle = self._look_into(ref, number)[0]
        last = self._look_into(middle, number)[0]
        self._know(last, chosen, number)

    def fail(self) -> None:
        for ref in self._some(1):
            failed = refuse.remote(self._some(), ref)
            assert isinstance(failed.exception(60), ValueError)

    def many(self) -> None:
        """Let several calls be under way together, and drop what they take meanwhile."""
        chosen, number = self._some(), next(self._numbers)
        made = [wrap.remote(chosen, self._size(), number) for _ in range(8)]
        for ref in made:
            self._know(ref, chosen, number)
        self.drop()

    def cancel(self) -> None:
        """Cancel a call that waits, with refs in its arguments."""
        gate = Gate.remote()
        waiting = gate.wait.remote()
        held = take.remote(waiting, other=make(self._some(), self._size(), 1))
        after = wrap.remote([*self._some(), held], 0, 2)
        assert flame.cancel(held)
        assert isinstance(held.exception(60), flame.TaskCancelledError)
        flame.get(gate.open.remote())
        flame.get([waiting, after])

    def get(self) -> None:
        """Get a value; keep its refs, or not, and its array."""
        for ref in self._some(1):
            value = flame.get(ref)
            assert number_of(value) == self.number[ref._id]
            if self.random.random() < 0.5:
                self.refs += value[0]
            if value[1] is not None and len(self.pinned) < 5:
                self.pinned.append((ref._id, value[1][1:5]))

    def let_go(self) -> None:
        """Drop an array."""
        if self.pinned:
            self.pinned.pop(self.random.randrange(len(self.pinned)))

    def drop(self) -> None:
        """Drop refs; more of them if there are many."""
        for _ in range(1 + len(self.refs) // 20):
            if self.refs:
                self.refs.pop(self.random.randrange(len(self.refs)))

    def new_actor(self) -> None:
        if len(self.actors) < 3:
            actor = KeptRefs(Keeper.remote())
            self.actors.append(actor)

    def end_actor(self) -> None:
        """Drop the handle of an actor, after it was killed or not."""
        if self.actors:
            actor = self.actors.pop(self.random.randrange(len(self.actors)))
            pid = flame.get(actor.handle.pid.remote())  # its calls have ended by now
            way = self.random.randrange(3)
            if way == 1:
                flame.kill(actor.handle)
            elif way == 2:
                os.kill(pid, signal.SIGKILL)

    def keep(self) -> None:
        for actor, slot in self._slot():
            chosen = self._some()
            flame.get(actor.handle.keep.remote(slot, chosen))
            actor.slots[slot] = [ref._id for ref in chosen]

    def forget(self) -> None:
        for actor, slot in self._slot():
            actor.handle.forget.remote(slot)
            actor.slots.pop(slot, None)

    def give(self) -> None:
        for actor, slot in self._slot():
            number = next(self._numbers)
            ref = actor.handle.give.remote(slot, number)
            self._know_ids(ref, actor.slots.get(slot, []), number)

    def make_there(self) -> None:
        for actor, slot in self._slot():
            number = next(self._numbers)
            ref = actor.handle.make.remote(slot, self._size(), number)
            self._look_into(ref, number)
            actor.slots[slot] = self.inside[ref._id]

    def call_there(self) -> None:
        for actor, slot in self._slot():
            number, before = next(self._numbers), actor.slots.get(slot, [])
            ref = actor.handle.call.remote(slot, self._size(), number)
            for inner in self._look_into(ref, number):
                self._know_ids(inner, before, number)
            actor.slots[slot] = self.inside[ref._id]

    def close_over(self) -> None:
        chosen = self._some()
        self.closures.append(Closure(_closure_over(chosen), chosen))

    def call_closure(self) -> None:
        if self.closures:
            closure = self.random.choice(self.closures)
            for pid, numbers in flame.get([closure.function.remote() for _ in range(3)]):
                assert numbers == [self.number[ref._id] for ref in closure.refs]
                closure.pids.add(pid)

    def drop_closure(self) -> None:
        if self.closures:
            self.closures.pop(self.random.randrange(len(self.closures)))

    def close_over_there(self) -> None:
        chosen = self._some()
        numbers = [self.number[ref._id] for ref in chosen]
        assert flame.get(close_over_there.remote(chosen)) == numbers

    def kill_worker(self) -> None:
        """Kill a process that runs functions; what it has made stays."""
        workers = [w for w in self.engine._core.crew.workers.values() if not w.actor_id and w.pid]
        flame.get(list(self.refs))  # nothing must run
        if workers:
            pid = self.random.choice(workers).pid
            os.kill(pid, signal.SIGKILL)
            assert wait_until(lambda: all(w.pid != pid for w in self._workers()))

    # --- what is known of a new object ---

    def _know(self, ref: Any, inside: Iterable[Any], number: int) -> None:
        self._know_ids(ref, [inner._id for inner in inside], number)

    def _know_ids(self, ref: Any, inside: list[int], number: int) -> None:
        self.inside[ref._id] = inside
        self.number[ref._id] = number
        if self.random.random() < 0.8:
            self.refs.append(ref)

    def _look_into(self, ref: Any, number: int) -> list[Any]:
        """Get a value in order to learn which refs are inside; most of them are dropped again."""
        inside = flame.get(ref)[0]
        self._know(ref, inside, number)
        for inner in inside:
            self._know_ids(inner, [], number)
        return inside

    def _some(self, most: int = 3) -> list[Any]:
        least = 1 if most == 1 else 0
        count = min(len(self.refs), self.random.randint(least, most))
        # Each once: a ref that is there twice is pickled once.
        return list({id(ref): ref for ref in self.random.sample(self.refs, count)}.values())

    def _slot(self) -> list[tuple[KeptRefs, int]]:
        if not self.actors:
            return []
        return [(self.random.choice(self.actors), self.random.randrange(_SLOTS))]

    def _size(self) -> int:
        return self.random.choice(SIZES)

    # --- comparing ---

    def check(self) -> None:
        """Wait until the engine's counts are those of the model."""
        flame.get(list(self.refs))
        found: dict[str, tuple[Any, Any]] = {}

        def agrees() -> bool:
            found.clear()
            found.update(self._differences())
            return not found

        assert wait_until(agrees, 5), f"{found}\n{self._holders()}\nafter {self.log[-40:]}"

    def drop_all(self) -> None:
        """Drop whatever the program has."""
        for everything in (self.refs, self.pinned, self.actors, self.closures):
            everything.clear()

    def check_nothing_is_left(self) -> None:
        """Compare with a model of nothing, to the last byte, in every process."""
        self.drop_all()
        self.check()
        core = self.engine._core
        assert core.objects.by_id == {}
        assert used_bytes(self.engine._store.storage) == 0
        assert core.room._spill is None or core.room._spill.used_bytes == 0
        for worker in self._workers():
            assert not worker.held, worker.held
            assert not +worker.pinned, worker.pinned
            assert not any(target.refs for target in worker.exported.values())
        number, gate = max(2, len(self._workers())), Gate.remote()
        found = dict(flame.get([used_bytes_here.remote(gate, number) for _ in range(number)]))
        assert len(found) == number
        assert not any(found.values()), found

    def _holders(self) -> str:
        """Say what each worker refers to, for the one who looks for the difference."""
        return "\n".join(
            f"worker {worker.id} ({worker.actor_id or 'functions'}): held {worker.held}, pinned "
            f"{+worker.pinned}, exported {[target.name for target in worker.exported.values()]}"
            for worker in self._workers()
        )

    def _workers(self) -> list[Any]:
        return list(self.engine._core.crew.workers.values())

    def _differences(self) -> dict[str, tuple[Any, Any]]:
        """Return what differs, each time as (expected, found)."""
        core = self.engine._core
        with self.engine._turn:
            core.drain()
            objects = dict(core.objects.by_id)
            counts = {i: stored.count for i, stored in objects.items() if stored.count}
            pins = {i: stored.pins for i, stored in objects.items() if stored.pins}
            live = {s: size for s, size in core.segments._live_bytes.items() if size}
        core.after_turn()
        expected_counts, expected_pins = self._expected()
        in_use: Counter[int] = Counter()
        for stored in objects.values():
            if stored.kind == Kind.STORED:
                in_use[stored.data[0]] += stored.data[2] if stored.data[3] is None else 0
        both = {
            "counts": (expected_counts, counts),
            "pins": (expected_pins, pins),
            "objects": (expected_counts.keys() | expected_pins.keys(), objects.keys()),
            "bytes": (+in_use, live),
        }
        return {what: _unequal(*pair) for what, pair in both.items() if pair[0] != pair[1]}

    def _expected(self) -> tuple[dict[int, int], dict[int, int]]:
        counts: Counter[int] = Counter()
        instances = {id(ref): ref._id for ref in self.refs}
        for closure in self.closures:
            instances |= {id(ref): ref._id for ref in closure.refs}
        counts.update(instances.values())
        counts.update(actor.handle._flame_ref._id for actor in self.actors)
        for held in self._held_by_workers():
            counts.update(held)
        pins = Counter(object_id for object_id, _ in self.pinned)
        alive: set[int] = set()
        new = counts.keys() | pins.keys()
        while new:
            alive |= new
            for object_id in new:
                counts.update(self.inside.get(object_id, ()))
            new = (counts.keys() | pins.keys()) - alive
        return dict(counts), dict(pins)

    def _held_by_workers(self) -> list[set[int]]:
        """Return what each worker refers to; each counts once, however often it does."""
        held = [{i for slot in actor.slots.values() for i in slot} for actor in self.actors]
        living = {worker.pid for worker in self._workers()}
        by_pid: dict[int, set[int]] = {}
        for closure in self.closures:
            for pid in closure.pids & living:
                by_pid.setdefault(pid, set()).update(ref._id for ref in closure.refs)
        return [*held, *by_pid.values()]


def _closure_over(refs: list[Any]) -> Any:
    @flame.remote
    def look() -> tuple[int, list[int]]:
        return os.getpid(), [number_of(value) for value in flame.get(refs)]

    return look


def _unequal(expected: Any, found: Any) -> tuple[Any, Any]:
    """Return the parts of two tables, or sets, that differ."""
    if isinstance(expected, dict) and isinstance(found, dict):
        keys = [k for k in expected.keys() | found.keys() if expected.get(k) != found.get(k)]
        return {k: expected.get(k) for k in keys}, {k: found.get(k) for k in keys}
    return set(expected) - set(found), set(found) - set(expected)


def run(seed: int, steps: int, store_bytes: int) -> None:
    """Run one program from an empty engine to an empty engine, in a session of its own."""
    with flame.init(engine="embedded", num_cpus=2, store_bytes=store_bytes):
        world = World(seed)
        for step in range(steps):
            world.step()
            if step % 5 == 4:
                world.check()
        world.check_nothing_is_left()
        gc.collect()


def main() -> None:
    """Run many programs, for a campaign by hand: first seed, number of seeds, steps."""
    import sys

    first, number, steps = (int(argument) for argument in sys.argv[1:4])
    for seed in range(first, first + number):
        try:
            run(seed, steps, 64 << 20 if seed % 2 else 8 << 20)
        except BaseException:
            print("seed", seed)
            raise
    print(f"{number} programs of {steps} steps")


if __name__ == "__main__":
    main()
