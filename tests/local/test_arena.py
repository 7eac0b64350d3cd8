from __future__ import annotations

import errno
import mmap
import os
import random

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    invariant,
    multiple,
    rule,
)

from flame_remote._local import _linux
from flame_remote._local._linux import HUGE_PAGE_BYTES, PAGE_BYTES
from flame_remote._local.arena import (
    FIRST_SEGMENT_BYTES,
    SEGMENT_SHIFT,
    Arena,
    Extent,
)
from flame_remote.exceptions import StoreFullError

OWNER = 7
MIB = 1 << 20


class Budget:
    """The store's budget, as the engine would keep it."""

    def __init__(self, total_bytes: int) -> None:
        self.free_bytes = total_bytes

    def reserve(self, size: int) -> None:
        if size > self.free_bytes:
            raise StoreFullError(size, self.free_bytes)
        self.free_bytes -= size


class Listener:
    """Hears which segments there are."""

    def __init__(self) -> None:
        self.fds: dict[int, int] = {}
        self.retired: list[int] = []

    def announce(self, segment: int, fd: int) -> None:
        assert segment not in self.fds
        self.fds[segment] = fd

    def retire(self, segment: int) -> None:
        del self.fds[segment]
        self.retired.append(segment)

    def memory_bytes(self) -> int:
        return sum(os.fstat(fd).st_blocks * 512 for fd in self.fds.values())


def arena_with(budget_bytes: int = 1 << 40) -> tuple[Arena, Budget, Listener]:
    budget, listener = Budget(budget_bytes), Listener()
    return Arena(OWNER, budget.reserve, listener.announce, listener.retire), budget, listener


def test_extent_has_whole_pages_and_at_least_the_size_asked_for():
    arena, _, _ = arena_with()
    extent = arena.allocate(PAGE_BYTES + 1)
    assert extent.size == 2 * PAGE_BYTES
    assert extent.offset % PAGE_BYTES == 0
    assert len(arena.view(extent)) == extent.size
    arena.close()


def test_segment_is_announced_before_its_first_extent_and_named_after_its_owner():
    arena, _, listener = arena_with()
    first = arena.allocate(1)
    second = arena.allocate(FIRST_SEGMENT_BYTES)
    assert list(listener.fds) == [OWNER << SEGMENT_SHIFT, OWNER << SEGMENT_SHIFT | 1]
    assert [first.segment, second.segment] == list(listener.fds)
    arena.close()


def test_view_writes_what_another_process_reads_from_the_announced_descriptor():
    arena, _, listener = arena_with()
    extent = arena.allocate(PAGE_BYTES)
    arena.view(extent)[:4] = b"abcd"
    pid = os.fork()
    if pid == 0:
        seen = os.pread(listener.fds[extent.segment], 4, extent.offset)
        os._exit(0 if seen == b"abcd" else 1)
    assert os.waitpid(pid, 0)[1] == 0
    arena.close()


def test_memory_freed_last_is_handed_out_first():
    arena, _, _ = arena_with()
    extents = [arena.allocate(PAGE_BYTES) for _ in range(9)]
    for extent in (extents[1], extents[5], extents[3]):
        arena.free(extent)
    taken = [arena.allocate(PAGE_BYTES) for _ in range(3)]
    assert taken == [extents[3], extents[5], extents[1]]
    arena.close()


def test_small_extent_does_not_break_up_a_large_free_one_while_a_small_one_is_free():
    arena, _, _ = arena_with()
    small, _, large, _ = (arena.allocate(size * PAGE_BYTES) for size in (1, 1, 100, 1))
    arena.free(small)
    arena.free(large)
    assert arena.allocate(PAGE_BYTES) == small
    arena.close()


def test_freed_neighbours_join():
    arena, _, _ = arena_with()
    extents = [arena.allocate(HUGE_PAGE_BYTES) for _ in range(4)]
    for index in (2, 0, 3, 1):
        arena.free(extents[index])
    assert arena.allocate(4 * HUGE_PAGE_BYTES).offset == extents[0].offset
    assert arena.capacity_bytes == 4 * HUGE_PAGE_BYTES
    arena.close()


def test_warm_memory_needs_no_new_budget():
    arena, budget, _ = arena_with()
    for size in (3 * MIB, 2 * MIB, 3 * MIB, MIB):
        arena.free(arena.allocate(size))
    assert (1 << 40) - budget.free_bytes == arena.capacity_bytes == 4 * MIB
    arena.close()


def test_extent_larger_than_any_segment_has_its_own():
    arena, _, listener = arena_with()
    arena._use_huge_pages = False
    size = 300 * MIB
    extent = Extent(OWNER << SEGMENT_SHIFT, 0, size)
    # Address space only: what is tested is the size of the segment, not 300 MiB of memory.
    block = arena._add_segment(size)
    assert block.size == size
    assert os.fstat(listener.fds[extent.segment]).st_size == size
    arena.close()


def test_segments_are_few():
    arena, _, listener = arena_with()
    before = len(os.listdir("/proc/self/fd"))
    extents = [arena.allocate(PAGE_BYTES) for _ in range(1000)]
    extents += [arena.allocate(MIB) for _ in range(20)]
    assert len(listener.fds) == 2
    assert len(os.listdir("/proc/self/fd")) == before + 2
    for extent in extents:
        arena.free(extent)
    arena.close()
    assert len(os.listdir("/proc/self/fd")) == before


def test_budget_is_asked_for_less_where_a_huge_page_is_too_much():
    arena, budget, _ = arena_with(5 * PAGE_BYTES)
    arena.allocate(4 * PAGE_BYTES)
    assert budget.free_bytes == PAGE_BYTES
    with pytest.raises(StoreFullError):
        arena.allocate(2 * PAGE_BYTES)
    arena.allocate(PAGE_BYTES)
    assert arena.used_bytes == 5 * PAGE_BYTES
    arena.close()


def test_refused_growth_changes_nothing():
    arena, budget, listener = arena_with(4 * MIB)
    extent = arena.allocate(2 * MIB)
    with pytest.raises(StoreFullError) as caught:
        arena.allocate(3 * MIB)
    assert caught.value.needed_bytes == 3 * MIB
    assert (arena.used_bytes, arena.capacity_bytes) == (2 * MIB, 2 * MIB)
    assert (budget.free_bytes, len(listener.fds)) == (2 * MIB, 1)
    arena.free(extent)
    arena.allocate(3 * MIB)
    arena.close()


def test_fragments_never_make_the_arena_full():
    arena, budget, _ = arena_with(4 * MIB)
    extents = [arena.allocate(PAGE_BYTES) for _ in range(4 * MIB // PAGE_BYTES)]
    for extent in extents[::2]:
        arena.free(extent)
    kept = extents[1::2]
    for extent in kept:
        arena.view(extent)[:1] = b"k"
    large = arena.allocate(2 * MIB)  # exactly what is free, in pieces of one page
    arena.view(large)[:] = b"l" * large.size
    assert budget.free_bytes == 0
    assert arena.used_bytes == arena.capacity_bytes == 4 * MIB
    assert all(arena.view(extent)[0] == ord("k") for extent in kept)
    arena.close()


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.ENOMEM])
def test_machine_without_memory_gives_a_typed_error_and_recovers(monkeypatch, number):
    arena, _, listener = arena_with()
    extent = arena.allocate(PAGE_BYTES)
    memory_bytes = listener.memory_bytes()

    def no_memory(fd, offset, size):
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patch:
        patch.setattr(_linux, "reserve", no_memory)
        with pytest.raises(StoreFullError) as caught:
            arena.allocate(8 * MIB)
    assert caught.value.needed_bytes == 8 * MIB
    assert caught.value.free_bytes < 8 * MIB
    assert arena.used_bytes == PAGE_BYTES
    assert listener.memory_bytes() == memory_bytes
    arena.view(arena.allocate(8 * MIB))[:] = bytes(8 * MIB)
    arena.free(extent)
    arena.close()


def test_memory_is_there_before_it_is_written():
    arena, _, listener = arena_with()
    arena.allocate(5 * PAGE_BYTES)
    arena.allocate(3 * MIB)
    assert listener.memory_bytes() == arena.capacity_bytes
    arena.close()


def test_arena_works_without_huge_pages(monkeypatch):
    tried = []

    def none_left(mapping, offset, size):
        tried.append(size)
        return False

    monkeypatch.setattr(_linux, "collapse", none_left)
    arena, _, listener = arena_with()
    for _ in range(3):
        extent = arena.allocate(3 * MIB)
        arena.view(extent)[:] = b"x" * extent.size
    assert len(tried) == 1
    assert listener.memory_bytes() == arena.capacity_bytes
    arena.close()


def test_announcement_that_fails_leaves_no_segment():
    def unreachable(segment, fd):
        raise ConnectionError("the peer is gone")

    before = os.listdir("/proc/self/fd")
    arena = Arena(OWNER, lambda size: None, unreachable)
    with pytest.raises(ConnectionError):
        arena.allocate(1)
    assert os.listdir("/proc/self/fd") == before
    assert arena.used_bytes == 0
    arena.close()


def test_extent_cannot_be_freed_twice():
    arena, _, _ = arena_with()
    extent = arena.allocate(1)
    arena.free(extent)
    with pytest.raises(ValueError, match="not in use"):
        arena.free(extent)
    arena.close()


def test_trim_gives_back_what_is_above_the_limit():
    arena, _, listener = arena_with()
    used, free = arena.allocate(4 * MIB), arena.allocate(6 * MIB)
    arena.free(free)
    assert arena.trim(2 * MIB) == 4 * MIB
    assert arena.free_bytes == 2 * MIB
    assert arena.trim(2 * MIB) == 0
    assert listener.memory_bytes() == arena.capacity_bytes == 6 * MIB
    arena.view(used)[:] = b"x" * used.size
    arena.close()


def test_trim_gives_back_the_least_recently_used_memory_first():
    arena, _, _ = arena_with()
    old, _, new, _ = (arena.allocate(HUGE_PAGE_BYTES) for _ in range(4))
    arena.free(old)
    arena.free(new)
    arena.trim(HUGE_PAGE_BYTES)
    assert arena.allocate(HUGE_PAGE_BYTES) == new
    arena.close()


def test_trim_drops_segments_that_nobody_uses_and_says_so():
    arena, _, listener = arena_with(100 * MIB)
    extents = [arena.allocate(FIRST_SEGMENT_BYTES) for _ in range(2)]
    fd = os.dup(listener.fds[extents[0].segment])
    arena.free(extents[0])
    assert arena.trim(0) == FIRST_SEGMENT_BYTES
    assert listener.retired == [extents[0].segment]
    assert os.fstat(fd).st_blocks == 0  # whoever still has the descriptor keeps no memory alive
    os.close(fd)
    assert arena.allocate(1).segment not in listener.retired
    arena.close()


def test_memory_given_back_is_zero_when_it_returns():
    arena, _, _ = arena_with()
    kept, extent = arena.allocate(PAGE_BYTES), arena.allocate(MIB)
    arena.view(extent)[:] = b"x" * MIB
    arena.free(extent)
    arena.trim(0)
    again = arena.allocate(MIB)
    assert again.segment == kept.segment
    assert bytes(arena.view(again)) == bytes(MIB)
    arena.close()


def test_trim_keeps_what_cannot_be_punched(monkeypatch):
    monkeypatch.setattr(_linux, "punch_hole", lambda fd, offset, size: False)
    arena, _, _ = arena_with()
    arena.free(arena.allocate(2 * MIB))
    assert arena.trim(0) == 0
    assert arena.free_bytes == 2 * MIB
    arena.close()


def test_close_may_be_called_twice_and_views_stay_valid():
    before = len(os.listdir("/proc/self/fd"))
    arena, _, _ = arena_with()
    view = arena.view(arena.allocate(PAGE_BYTES))
    view[:4] = b"abcd"
    arena.close()
    arena.close()
    assert arena.capacity_bytes == 0
    assert len(os.listdir("/proc/self/fd")) == before
    assert bytes(view[:4]) == b"abcd"


PAGES = st.integers(1, 40)
HUGE = st.integers(1, 3).map(lambda count: count * HUGE_PAGE_BYTES // PAGE_BYTES)
BUDGET_BYTES = 12 * MIB


class ArenaAgainstModel(RuleBasedStateMachine):
    """The model: a dictionary of extents and the byte that each is filled with."""

    extents = Bundle("extents")

    def __init__(self) -> None:
        super().__init__()
        self.arena, self.budget, self.listener = arena_with(BUDGET_BYTES)
        self.model: dict[Extent, int] = {}
        self.fill = random.Random(0)

    @rule(target=extents, pages=PAGES | HUGE, short=st.integers(0, PAGE_BYTES - 1))
    def allocate(self, pages, short):
        size = pages * PAGE_BYTES - short
        try:
            extent = self.arena.allocate(size)
        except StoreFullError:
            used_bytes = sum(extent.size for extent in self.model)
            assert used_bytes + pages * PAGE_BYTES > BUDGET_BYTES
            return multiple()
        assert extent.size == pages * PAGE_BYTES
        assert not any(
            extent.segment == other.segment
            and extent.offset < other.end
            and other.offset < extent.end
            for other in self.model
        )
        self.model[extent] = self.fill.randrange(256)
        self.arena.view(extent)[:] = bytes([self.model[extent]]) * extent.size
        return extent

    @rule(extent=consumes(extents))
    def free(self, extent):
        content = bytes([self.model.pop(extent)]) * extent.size
        assert self.arena.view(extent) == content
        self.arena.free(extent)

    @rule(keep_bytes=st.integers(0, 4 * MIB))
    def trim(self, keep_bytes):
        before = self.arena.capacity_bytes
        given_back = self.arena.trim(keep_bytes)
        self.budget.free_bytes += given_back
        assert before - given_back == self.arena.capacity_bytes
        assert self.arena.free_bytes <= keep_bytes

    @invariant()
    def bytes_are_conserved(self):
        arena = self.arena
        assert arena.used_bytes == sum(extent.size for extent in self.model)
        assert arena.used_bytes + arena.free_bytes == arena.capacity_bytes
        assert arena.capacity_bytes + self.budget.free_bytes == BUDGET_BYTES
        free = [block for s in arena._segments.values() for block in s.free_by_start.values()]
        cold_bytes = sum(block.size for block in free if not block.warm)
        assert sum(block.size for block in free if block.warm) == arena._warm.bytes
        assert cold_bytes == arena._cold.bytes
        total = sum(os.fstat(fd).st_size for fd in self.listener.fds.values())
        assert arena.used_bytes + arena._warm.bytes + cold_bytes == total

    @invariant()
    def free_neighbours_are_joined(self):
        for segment in self.arena._segments.values():
            ends = {(block.end, block.warm) for block in segment.free_by_start.values()}
            starts = {(block.offset, block.warm) for block in segment.free_by_start.values()}
            assert not ends & starts

    @invariant()
    def what_is_not_cold_has_memory(self):
        arena = self.arena
        assert self.listener.memory_bytes() >= arena.used_bytes + arena._warm.bytes

    def teardown(self):
        for extent, fill in self.model.items():
            assert self.arena.view(extent) == bytes([fill]) * extent.size
            self.arena.free(extent)
        self.arena.trim(0)
        assert self.arena.capacity_bytes == 0
        assert self.listener.fds == {}
        self.arena.close()


ArenaAgainstModel.TestCase.settings = settings(
    max_examples=80,
    stateful_step_count=40,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
TestArenaAgainstModel = ArenaAgainstModel.TestCase


def test_mapping_ends_with_the_arena():
    def lines() -> int:
        with open("/proc/self/maps") as maps:
            return sum("flame-remote" in line for line in maps)

    before = lines()
    arena, _, _ = arena_with()
    arena.free(arena.allocate(mmap.PAGESIZE))
    assert lines() == before + 1
    arena.close()
    assert lines() == before
