"""The large-value store against a plain copy of as many bytes. `python -m benchmarks.store [MB]`

put cold     the first value that is put: memory is new to the process, and may be to the machine
put warm     a value put where another was freed
open first   a value opened in a process that has not yet mapped its memory, and every page read
open again   the same once more after it was released
touch        every page read of a value that is open: what plain memory would cost too
write one    opened, one element written, released
write all    opened, every page written once, released
open small   a value of 8 kB opened and released
spill        written to the spill file of the temporary directory
open spilled opened from there, its checksum verified, and every page read
"""

from __future__ import annotations

import pickle
import sys
from collections.abc import Callable
from statistics import median

import numpy as np

from benchmarks.clock import seconds_of, timings
from flame_remote._local import stored_value
from flame_remote._local.arena import Arena, Extent
from flame_remote._local.mapping import MappingCache
from flame_remote._local.spill import SpillFile

ROUNDS = 7
PAGE_BYTES = 4096


def main(megabytes: int = 100) -> None:
    segments: dict[int, int] = {}
    arena = Arena(1, lambda size: None, segments.__setitem__)
    spill = SpillFile(1, segments.__setitem__)
    value = np.random.default_rng(0).random(megabytes * 1_000_000 // 8)
    copy = np.empty_like(value)
    plain = median(timings(lambda: np.copyto(copy, value), ROUNDS)[1:])

    def put(value: object) -> Extent:
        views: list[pickle.PickleBuffer] = []
        pickled = pickle.dumps(value, protocol=5, buffer_callback=views.append)
        buffers = [view.raw() for view in views]
        extent = arena.allocate(stored_value.measure(pickled, buffers))
        stored_value.write(arena.view(extent), pickled, buffers)
        return extent

    def new_reader() -> MappingCache:
        cache = MappingCache()
        for segment, fd in segments.items():
            cache.add_segment(segment, fd)
        return cache

    def get(cache: MappingCache, extent: Extent, checksum: int | None = None) -> np.ndarray:
        pickled, buffers = cache.open(extent, lambda: None, checksum)
        array: np.ndarray = pickle.loads(pickled, buffers=buffers)
        return array

    def touch(array: np.ndarray) -> None:
        array.view("u1")[::PAGE_BYTES].sum()

    def write_one(array: np.ndarray) -> None:
        array[0] = 1

    def write_pages(array: np.ndarray) -> None:
        array.view("u1")[::PAGE_BYTES] = 1

    def report(name: str, seconds: float) -> None:
        print(f"{name:13} {seconds * 1e3:9.3f} ms {seconds / plain:8.3f}")

    def measure(name: str, action: Callable[[], object]) -> None:
        report(name, median(timings(action, ROUNDS)))

    print(f"{megabytes} MB{'time':>18} {'/ copy':>11}")
    report("copy", plain)
    extents: list[Extent] = []
    report("put cold", seconds_of(lambda: extents.append(put(value))))
    arena.free(extents.pop())
    measure("put warm", lambda: arena.free(put(value)))
    extent, small = put(value), put(value[:1000])
    readers = [new_reader() for _ in range(ROUNDS)]
    measure("open first", lambda: touch(get(readers.pop(), extent)))
    cache = new_reader()
    touch(get(cache, extent))
    measure("open again", lambda: touch(get(cache, extent)))
    opened = [get(cache, extent)]
    measure("touch", lambda: touch(opened[0]))
    opened.clear()
    measure("write one", lambda: write_one(get(cache, extent)))
    measure("write all", lambda: write_pages(get(cache, extent)))
    measure("open small", lambda: get(cache, small))
    spilled: list[Extent] = []
    report("spill", seconds_of(lambda: spilled.append(spill.write(arena.view(extent)))))
    cache = new_reader()
    checksum = spill.checksum(spilled[0])
    measure("open spilled", lambda: touch(get(cache, spilled[0], checksum)))
    spill.close()
    arena.close()


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
