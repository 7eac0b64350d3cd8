"""Memory for large values: every process may map it, only its owner allocates from it."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from flame_remote.exceptions import StoreFullError

from . import _linux
from ._linux import HUGE_PAGE_BYTES, PAGE_BYTES
from .free_blocks import ArenaSegment, Block, Shelf

SEGMENT_SHIFT: Final = 20  # a segment's id is its owner's number << 20 | a number counted up
# Each segment costs every process a descriptor: few and large. What is not in use costs address
# space only, so doubling from 16 MiB wastes nothing; 256 MiB keeps a store of 8 GiB below 40.
FIRST_SEGMENT_BYTES: Final = 16 << 20
LARGEST_SEGMENT_BYTES: Final = 256 << 20


@dataclass(frozen=True, slots=True)
class Extent:
    """A range of a segment, in whole pages: where a stored value lies. Says so to any process."""

    segment: int
    offset: int
    size: int  # as allocated, not as asked for

    @property
    def end(self) -> int:
        return self.offset + self.size


class Arena:
    """Hands out extents of memory that only this process allocates from.

    Not thread-safe: one thread at a time, each call under the engine's lock. Views of different
    extents may be written from any thread.

    Memory goes through three states. *Cold*: address space, a hole in the segment's file. *Warm*:
    has memory, nobody uses it. *Used*: an extent. Writing to cold memory is an order of magnitude
    slower than to warm, so freed memory stays warm and the most recently used is handed out first.
    The budget is counted in memory and not in addresses; that is why fragments never make the arena
    full: memory that is warm in too small pieces moves to where one piece is needed.

    Cold memory is warmed on huge pages where the kernel has any left, in whole ones where the
    budget allows. That makes the first write three times as fast, and a reader's first look at it
    twenty times (benchmarks/store.py).
    """

    def __init__(
        self,
        owner: int,
        reserve_budget: Callable[[int], None],
        announce: Callable[[int, int], None],
        retire: Callable[[int], None] = lambda segment: None,
    ) -> None:
        """Begin with no memory at all.

        Args:
            owner: this process's number, the upper part of every segment id.
            reserve_budget: called with a number of bytes before memory grows by them. Raises
                StoreFullError to refuse; it is asked for whole huge pages (2 MiB) first, then for
                what is needed, then for that less what the arena can contribute, and only the last
                refusal is passed on. What `trim` returns is budget given back.
            announce: called with (segment id, descriptor) before the first extent of a new segment
                is handed out. The descriptor stays the arena's; it is valid until `retire`.
            retire: called with a segment id when `trim` has dropped that segment. Ids are not
                reused.
        """
        # Constant after construction.
        self._owner = owner
        self._reserve_budget = reserve_budget
        self._announce = announce
        self._retire = retire
        # The rest belongs to whoever holds the engine's lock.
        self._segments: dict[int, ArenaSegment] = {}
        self._segments_made = 0
        self._warm = Shelf()
        self._cold = Shelf()
        self._extents: set[Extent] = set()
        self._used_bytes = 0
        self._unspent_bytes = 0  # budget that we have and no memory yet
        self._use_huge_pages = True

    @property
    def used_bytes(self) -> int:
        """What the extents take that are handed out."""
        return self._used_bytes

    @property
    def free_bytes(self) -> int:
        """Budget that is reserved and not in use; `allocate` needs no more budget below it."""
        return self._warm.bytes + self._unspent_bytes

    @property
    def capacity_bytes(self) -> int:
        """Budget that is reserved: used and free."""
        return self._used_bytes + self.free_bytes

    def allocate(self, size: int) -> Extent:
        """Return an extent of at least `size` bytes; its content is undefined.

        All of it has memory, so writing cannot fail. From warm memory this takes microseconds; else
        it blocks while the kernel clears pages, 0.1 ms per MiB or several times that on a virtual
        machine that has not used them before. Raises StoreFullError if the budget or the machine
        has no room, OSError if a segment cannot be made (EMFILE, ENOMEM).
        """
        if size <= 0:
            raise ValueError(f"an extent has at least one byte, not {size}")
        size = _round_up(size, PAGE_BYTES)
        block = self._warm.find(size) or self._warm_up(size)
        self._withdraw(block)
        extent = Extent(block.segment.id, block.offset, size)
        if block.size > size:
            self._add_free(Block(block.segment, extent.end, block.size - size, warm=True))
        self._extents.add(extent)
        self._used_bytes += size
        return extent

    def has(self, segment: int) -> bool:
        """Say whether a segment is this arena's, and still there."""
        return segment in self._segments

    def view(self, extent: Extent) -> memoryview:
        """Return the extent's memory, writable. It must not be touched once the extent is freed."""
        return self._segments[extent.segment].view[extent.offset : extent.end]

    def free(self, extent: Extent) -> None:
        """Take the extent back; it stays warm. No process may be reading it any more.

        Raises ValueError if it is not handed out, as when it is freed twice.
        """
        if extent not in self._extents:
            raise ValueError(f"{extent} is not in use in this arena")
        self._extents.remove(extent)
        self._used_bytes -= extent.size
        segment = self._segments[extent.segment]
        self._add_free(Block(segment, extent.offset, extent.size, warm=True))

    def trim(self, keep_bytes: int) -> int:
        """Give free memory above `keep_bytes` back to the system, the least recently used first.

        Return by how much budget shrank; it can be a page more than asked. Segments without an
        extent or warm memory are dropped. Blocks for about 0.2 ms per MiB, much less on huge pages.
        """
        excess = _round_up(max(0, self.free_bytes - keep_bytes), PAGE_BYTES)
        self._chill(excess - self._unspent_bytes)
        given_back = min(excess, self._unspent_bytes)
        self._unspent_bytes -= given_back
        for segment in list(self._segments.values()):
            if segment.is_cold():
                self._drop(segment)
                self._retire(segment.id)
        return given_back

    def close(self) -> None:
        """Forget all segments. May be called twice; the arena is then empty and as good as new.

        Memory itself lives on while views of it do, or another process has a segment's descriptor.
        """
        for segment in list(self._segments.values()):
            self._drop(segment)
        self._warm, self._cold = Shelf(), Shelf()
        self._extents.clear()
        self._used_bytes = self._unspent_bytes = 0

    # --- Cold to warm, and back ---

    def _warm_up(self, size: int) -> Block:
        """Return a warm block of at least `size` bytes, made from cold memory."""
        growth = self._obtain_budget(size)
        cold = self._cold.find(growth) or self._cold.find(size) or self._add_segment(growth)
        growth = min(growth, cold.size)
        try:
            self._give_memory(cold, growth)
        except OSError as error:
            _linux.punch_hole(cold.segment.fd, cold.offset, growth)
            raise StoreFullError(size, self._warm.bytes) from error
        self._unspent_bytes -= growth
        self._withdraw(cold)
        if cold.size > growth:
            rest = Block(cold.segment, cold.offset + growth, cold.size - growth, warm=False)
            self._add_free(rest)
        return self._add_free(Block(cold.segment, cold.offset, growth, warm=True))

    def _obtain_budget(self, size: int) -> int:
        """See that budget for `size` bytes or more is unspent; return how much to grow by."""
        for growth in sorted({size, _round_up(size, HUGE_PAGE_BYTES)}, reverse=True):
            missing = growth - self._unspent_bytes
            if missing <= 0:
                return growth
            with suppress(StoreFullError):
                self._reserve_budget(missing)
                self._unspent_bytes += missing
                return growth
        # What is warm is in pieces too small; their memory is as good elsewhere.
        self._chill(size - self._unspent_bytes)
        missing = size - self._unspent_bytes
        if missing > 0:
            self._reserve_budget(missing)
            self._unspent_bytes += missing
        return size

    def _give_memory(self, block: Block, size: int) -> None:
        """Give the first `size` bytes of a cold block memory. Raises OSError if there is none."""
        fd = block.segment.fd
        start = _round_up(block.offset, HUGE_PAGE_BYTES)
        end = (block.offset + size) // HUGE_PAGE_BYTES * HUGE_PAGE_BYTES
        if self._use_huge_pages and start < end:
            for offset in range(start, end, HUGE_PAGE_BYTES):
                _linux.reserve(fd, offset, PAGE_BYTES)
            # Where it fails once it is not tried again: the search for huge pages in fragmented
            # memory would cost each time.
            self._use_huge_pages = _linux.collapse(block.segment.mapping, start, end - start)
        _linux.reserve(fd, block.offset, size)  # all that is not on huge pages, else a no-op

    def _chill(self, size: int) -> None:
        """Make `size` bytes of warm memory cold, or all there are; their budget is unspent."""
        while size > 0 and (block := self._warm.oldest()) is not None:
            part = min(block.size, _round_up(size, PAGE_BYTES))
            offset = block.end - part
            if not _linux.punch_hole(block.segment.fd, offset, part):
                return  # the fallback of memory_file, on a file system that cannot
            self._withdraw(block)
            if block.size > part:
                self._add_free(Block(block.segment, block.offset, block.size - part, warm=True))
            self._add_free(Block(block.segment, offset, part, warm=False))
            self._unspent_bytes += part
            size -= part

    # --- Free blocks ---

    def _add_free(self, block: Block) -> Block:
        """Join the block with free neighbours of its kind; return what it has become."""
        segment = block.segment
        shelf = self._warm if block.warm else self._cold
        before = segment.free_by_end.get(block.offset)
        if before is not None and before.warm == block.warm:
            self._withdraw(before)
            block = Block(segment, before.offset, before.size + block.size, block.warm)
        after = segment.free_by_start.get(block.end)
        if after is not None and after.warm == block.warm:
            self._withdraw(after)
            block = Block(segment, block.offset, block.size + after.size, block.warm)
        segment.free_by_start[block.offset] = segment.free_by_end[block.end] = block
        shelf.add(block)
        return block

    def _withdraw(self, block: Block) -> None:
        (self._warm if block.warm else self._cold).remove(block)
        del block.segment.free_by_start[block.offset], block.segment.free_by_end[block.end]

    # --- Segments ---

    def _add_segment(self, size: int) -> Block:
        """Return a new segment's only block, cold and of at least `size` bytes."""
        usual = min(FIRST_SEGMENT_BYTES << min(self._segments_made, 8), LARGEST_SEGMENT_BYTES)
        segment = ArenaSegment(
            self._owner << SEGMENT_SHIFT | self._segments_made,
            max(usual, _round_up(size, HUGE_PAGE_BYTES)),
        )
        self._segments_made += 1
        try:
            self._announce(segment.id, segment.fd)
        except BaseException:
            os.close(segment.fd)
            raise
        self._segments[segment.id] = segment
        return self._add_free(Block(segment, 0, segment.size, warm=False))

    def _drop(self, segment: ArenaSegment) -> None:
        for block in list(segment.free_by_start.values()):
            self._withdraw(block)
        del self._segments[segment.id]
        os.close(segment.fd)  # the mapping ends with the last view of it


def _round_up(size: int, unit: int) -> int:
    return -(-size // unit) * unit
