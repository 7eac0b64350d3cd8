from __future__ import annotations

import gc
import os
import pickle
import random
import threading
from collections import deque
from collections.abc import Callable
from functools import partial

import numpy as np
import pytest

from flame_remote._local import _linux, stored_value
from flame_remote._local._linux import PAGE_BYTES
from flame_remote._local.arena import Arena, Extent
from flame_remote._local.mapping import MappingCache
from flame_remote.exceptions import ObjectError, SerializationError


class Store:
    """One writer and one reader, put together as the engine would."""

    def __init__(self, idle_bytes: int = 1 << 30) -> None:
        self.cache = MappingCache(idle_bytes)
        self.arena = Arena(1, lambda size: None, self.cache.add_segment, self.cache.remove_segment)
        self.released: deque[Extent] = deque()

    def put(self, value: object) -> Extent:
        views: list[pickle.PickleBuffer] = []
        pickled = pickle.dumps(value, protocol=5, buffer_callback=views.append)
        buffers = [view.raw() for view in views]
        extent = self.arena.allocate(stored_value.measure(pickled, buffers))
        stored_value.write(self.arena.view(extent), pickled, buffers)
        return extent

    def get(self, extent: Extent):
        pickled, buffers = self.cache.open(extent, partial(self.released.append, extent))
        return pickle.loads(pickled, buffers=buffers)

    def close(self) -> None:
        self.cache.close()
        self.arena.close()


@pytest.fixture
def store():
    store = Store()
    yield store
    store.close()


def in_child(function: Callable[[], bool]) -> bool:
    """Say what the function returns in a forked child; False if it raises."""
    pid = os.fork()
    if pid == 0:
        passed = False
        try:
            passed = bool(function())
        finally:
            os._exit(0 if passed else 1)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


def mappings() -> int:
    gc.collect()  # what earlier tests left
    with open("/proc/self/maps") as maps:
        return sum("flame-remote" in line for line in maps)


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def test_array_is_the_stored_one_without_a_copy(store):
    original = np.random.default_rng(1).random(100_000)
    extent = store.put(original)
    array = store.get(extent)
    np.testing.assert_array_equal(array, original)
    # What the writer changes in the store is seen, so there is one copy only.
    view = np.frombuffer(store.arena.view(extent), "u1")
    view[-PAGE_BYTES:] = 0
    assert array[-500:].sum() < original[-500:].sum()


def test_array_is_aligned_for_the_processor(store):
    array = store.get(store.put(np.arange(1000.0)))
    assert array.ctypes.data % 64 == 0


def test_writing_to_an_array_changes_neither_the_stored_value_nor_another_reader_s(store):
    original = np.zeros(50_000)
    extent = store.put(original)
    mine, yours = store.get(extent), store.get(extent)
    mine[:] = 1
    yours[0] = 2
    assert mine.sum() == 50_000
    assert yours.sum() == 2
    assert store.get(extent).sum() == 0
    assert original.sum() == 0


def test_another_process_reads_the_value_and_its_writes_stay_its_own(store):
    extent = store.put(np.arange(10_000))
    mine = store.get(extent)
    mine[0] = -1
    total = sum(range(10_000))

    def child() -> bool:
        array = store.get(extent)
        if array[0] != 0 or array.sum() != total:
            return False
        array[:] = 7
        return True

    assert in_child(child)
    assert mine[0] == -1
    assert mine[1:].sum() == total
    del mine
    assert store.get(extent).sum() == total


def test_write_does_not_survive_until_the_next_open(store):
    extent = store.put(np.zeros(50_000))
    for _ in range(3):
        array = store.get(extent)
        assert array.sum() == 0
        array[::1000] = 1
        del array
    assert len(store.cache._planes[extent.segment]) == 1  # it was the same memory each time


def test_extent_that_is_used_again_shows_its_new_value_and_nothing_of_the_old(store):
    first = store.put(np.full(50_000, 1.0))
    array = store.get(first)
    array[::2000] = 9
    del array
    store.arena.free(first)
    second = store.put(np.full(50_000, 2.0))
    assert second == first
    assert np.unique(store.get(second)).tolist() == [2.0]
    assert len(store.cache._planes[second.segment]) == 1


def test_memory_used_again_at_other_boundaries_shows_its_new_values(store):
    extents = [store.put(np.full(50_000, 1.0)) for _ in range(4)]
    for extent in extents:
        store.get(extent)[:] = 9
        store.arena.free(extent)
    for size in (130_000, 20_000, 7_000, 30_000):
        assert np.unique(store.get(store.put(np.full(size, float(size))))).tolist() == [size]


def test_reader_in_another_process_sees_what_an_extent_holds_now(store):
    extent = store.put(np.full(50_000, 1.0))
    to_child, to_parent = os.pipe(), os.pipe()
    pid = os.fork()
    if pid == 0:
        passed = False
        try:
            array = store.get(extent)
            passed = bool((array == 1).all())
            array[::2000] = 9
            del array
            os.write(to_parent[1], b".")
            os.read(to_child[0], 1)
            passed = passed and bool((store.get(extent) == 2).all())
        finally:
            os._exit(0 if passed else 1)
    os.read(to_parent[0], 1)
    store.arena.free(extent)
    assert store.put(np.full(50_000, 2.0)) == extent
    os.write(to_child[1], b".")
    assert os.waitpid(pid, 0)[1] == 0
    for fd in (*to_child, *to_parent):
        os.close(fd)


@pytest.mark.parametrize(
    "derive",
    [
        lambda array: array,
        lambda array: array[10:20],
        lambda array: array.reshape(100, -1)[::2].T,
        memoryview,
        lambda array: memoryview(array)[5:6],
        lambda array: np.asarray(memoryview(array)[5:6]),
        lambda array: iter(array[3:]),
        lambda array: [array[:1], array[-1:]],
    ],
    ids=["array", "slice", "view", "memoryview", "part", "array of part", "iterator", "two"],
)
def test_release_comes_once_when_the_last_that_shows_the_value_is_gone(store, derive):
    extent = store.put(np.arange(10_000))
    kept = derive(store.get(extent))
    gc.collect()
    assert not store.released
    del kept
    assert list(store.released) == [extent]
    store.cache.collect()
    assert list(store.released) == [extent]


def test_slice_of_a_raw_buffer_keeps_the_value(store):
    extent = store.put(pickle.PickleBuffer(bytearray(b"abcdef")))
    part = store.get(extent)[2:4]
    assert not store.released
    part[0] = ord("X")
    assert bytes(part) == b"Xd"
    del part
    assert list(store.released) == [extent]


def test_value_without_buffers_is_released_when_it_is_unpickled(store):
    extent = store.put({"plain": [1, 2, 3]})
    value = store.get(extent)
    assert list(store.released) == [extent]
    assert value == {"plain": [1, 2, 3]}


def test_value_in_a_cycle_is_released_by_the_collector(store):
    extent = store.put(np.arange(10_000))
    cycle: list[object] = [store.get(extent)]
    cycle.append(cycle)
    del cycle
    gc.collect()
    assert list(store.released) == [extent]


def test_release_that_opens_nothing_may_come_in_the_middle_of_an_open(store):
    extent = store.put(np.arange(1000))
    kept = [store.get(extent)]
    lend = store.cache._planes[extent.segment][0].__class__.lend

    def lend_while_another_dies(plane, extent):
        kept.clear()  # as the garbage collector could, with the cache's lock held
        return lend(plane, extent)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            store.cache._planes[extent.segment][0].__class__, "lend", lend_while_another_dies
        )
        array = store.get(extent)
    assert array.sum() == sum(range(1000))
    assert list(store.released) == [extent]


def test_corrupt_value_is_an_error_without_release_and_its_range_is_lent_again(store):
    extent = store.put(np.arange(1000))
    view = store.arena.view(extent)
    view[:4] = b"oops"
    with pytest.raises(SerializationError):
        store.get(extent)
    assert not store.released
    view[:4] = b"FLMR"
    assert store.get(extent)[-1] == 999
    assert len(store.cache._planes[extent.segment]) == 1


def test_unknown_segment_is_an_error(store):
    with pytest.raises(ObjectError, match="segment 99 is not known"):
        store.get(Extent(99, 0, PAGE_BYTES))


def test_extent_beyond_its_segment_is_an_error_and_not_a_crash(store):
    extent = store.put(1)
    size = os.fstat(store.cache._fds[extent.segment]).st_size
    with pytest.raises(ObjectError, match="does not lie in its segment"):
        store.get(Extent(extent.segment, size, PAGE_BYTES))


def test_segment_is_added_once(store):
    extent = store.put(1)
    with pytest.raises(ValueError, match="is known already"):
        store.cache.add_segment(extent.segment, 0)


def test_descriptors_are_as_many_as_segments_however_much_is_open(store):
    before, mappings_before = descriptors(), mappings()
    extents = [store.put(np.full(500, float(index))) for index in range(300)]
    arrays = [store.get(extent) for extent in extents]
    arrays += [store.get(extents[0]) for _ in range(50)]
    assert descriptors() == before + 2  # one segment, known to its writer and to its reader
    assert mappings() <= mappings_before + 1 + 51
    assert all(array[0] == index for index, array in enumerate(arrays[:300]))


def test_values_that_are_not_open_at_once_share_one_mapping(store):
    before = mappings()
    extents = [store.put(np.full(500, float(index))) for index in range(100)]
    arrays = [store.get(extent) for extent in extents]
    assert mappings() == before + 2  # the writer's and the reader's
    assert arrays[99][0] == 99


def test_mappings_beyond_the_limit_are_given_up_once_nothing_shows_them():
    store = Store(idle_bytes=0)
    before = mappings()
    extent = store.put(np.arange(10_000))
    arrays = [store.get(extent) for _ in range(5)]
    assert mappings() == before + 1 + 5
    del arrays
    store.cache.collect()
    assert mappings() == before + 1
    assert store.get(extent)[-1] == 9_999
    store.close()


def test_mapping_idle_for_longest_is_given_up_first():
    store = Store(idle_bytes=3 * PAGE_BYTES)
    extent = store.put(np.arange(10))
    arrays = [store.get(extent) for _ in range(4)]
    planes = list(store.cache._planes[extent.segment])
    while arrays:
        arrays.pop(0)
    store.cache.collect()
    assert store.cache._planes[extent.segment] == planes[1:]
    store.close()


def test_written_pages_are_given_back_by_collect(store):
    extent = store.put(np.zeros(50_000))
    array = store.get(extent)
    array[:] = 1
    (plane,) = store.cache._planes[extent.segment]
    assert _linux.has_private_pages(plane.mapping, extent.offset, extent.size)
    del array
    store.cache.collect()
    assert not _linux.has_private_pages(plane.mapping, extent.offset, extent.size)


def test_pages_that_cannot_be_discarded_are_never_shown_again(store, monkeypatch):
    monkeypatch.setattr(_linux, "discard_private_pages", lambda mapping, offset, size: False)
    before = mappings()
    extent = store.put(np.zeros(1000))
    for _ in range(3):
        array = store.get(extent)
        assert array.sum() == 0
        array[:] = 1
        del array
    store.cache.collect()
    assert mappings() == before + 1


def test_removed_segment_leaves_its_arrays_valid_and_reports_their_release(store):
    before = descriptors(), mappings()
    extent = store.put(np.arange(1000))
    idle, array = store.get(extent), store.get(extent)
    del idle
    store.cache.remove_segment(extent.segment)
    store.cache.remove_segment(extent.segment)
    with pytest.raises(ObjectError, match="is not known"):
        store.get(extent)
    assert array.sum() == sum(range(1000))
    assert len(store.released) == 1
    del array
    assert len(store.released) == 2
    store.cache.collect()
    store.arena.close()
    assert (descriptors(), mappings()) == before


def test_close_may_be_called_twice_and_leaves_arrays_valid(store):
    extent = store.put(np.arange(1000))
    before = descriptors()
    array = store.get(extent)
    store.cache.close()
    store.cache.close()
    assert descriptors() == before - 1
    array[0] = 5
    assert array.sum() == sum(range(1000)) + 5
    del array
    store.cache.collect()


def test_many_threads_open_write_and_release_without_seeing_each_other(store):
    extents = [store.put(np.full(3000, index)) for index in range(4)]
    wrong: list[str] = []
    opened = [0] * 6

    def reader(number: int) -> None:
        choose = random.Random(number)
        kept: deque[tuple[int, np.ndarray]] = deque(maxlen=3)
        for _ in range(300):
            index = choose.randrange(len(extents))
            array = store.get(extents[index])
            opened[number] += 1
            if not (array == index).all():
                wrong.append(f"value {index} opened as {np.unique(array)}")
            array[:] = 100 + number
            kept.append((index, array))
            if any((array != 100 + number).any() for _, array in kept):
                wrong.append("somebody else wrote to my array")

    threads = [threading.Thread(target=reader, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert len(store.released) == sum(opened) == 1800


def test_values_come_and_go_at_random_and_are_always_right():
    store = Store(idle_bytes=1 << 20)
    choose = random.Random(5)
    live: list[tuple[Extent, int]] = []
    open_: list[tuple[Extent, int, np.ndarray]] = []
    for step in range(1500):
        action = choose.random()
        if action < 0.35 or not live:
            live.append((store.put(np.full(choose.randrange(1, 4000), step)), step))
        elif action < 0.7:
            extent, value = choose.choice(live)
            array = store.get(extent)
            assert (array == value).all()
            if choose.random() < 0.5:
                array[choose.randrange(len(array))] = -1
            open_.append((extent, value, array))
        elif open_:
            extent, value, array = open_.pop(choose.randrange(len(open_)))
            assert ((array == value) | (array == -1)).all()
        in_use = {extent for extent, _, _ in open_}
        while len(live) > 30 and (idle := [item for item in live if item[0] not in in_use]):
            live.remove(idle[0])
            store.arena.free(idle[0][0])
        if step % 200 == 0:
            store.arena.trim(1 << 18)
    open_.clear()
    store.close()
