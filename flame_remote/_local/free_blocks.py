"""What of an arena's segments is free: blocks, and the shelves on which they are found."""

from __future__ import annotations

import mmap
import os

from . import _linux


class ArenaSegment:
    """One file in memory, mapped once, and its free blocks."""

    __slots__ = ("fd", "free_by_end", "free_by_start", "id", "mapping", "size", "view")

    def __init__(self, identifier: int, size: int) -> None:
        self.id = identifier
        self.size = size
        self.fd = _linux.memory_file("flame-remote", size)
        try:
            self.mapping: mmap.mmap = _linux.map_file(self.fd, size, shared=True)
        except BaseException:
            os.close(self.fd)
            raise
        self.view = memoryview(self.mapping)
        self.free_by_start: dict[int, Block] = {}
        self.free_by_end: dict[int, Block] = {}

    def is_cold(self) -> bool:
        block = self.free_by_start.get(0)
        return block is not None and not block.warm and block.size == self.size


class Block:
    """A free range of a segment, all of it warm or all of it cold. Never changed once made."""

    __slots__ = ("end", "offset", "segment", "size", "warm")

    def __init__(self, segment: ArenaSegment, offset: int, size: int, warm: bool) -> None:
        self.segment = segment
        self.offset = offset
        self.size = size
        self.end = offset + size
        self.warm = warm


class Shelf:
    """Free blocks of one kind, by size and age."""

    def __init__(self) -> None:
        self.bytes = 0
        # By size.bit_length(); each in the order in which blocks came, with the number of each.
        self._bins: list[dict[Block, int]] = [{} for _ in range(64)]
        self._added = 0

    def add(self, block: Block) -> None:
        self._added += 1
        self._bins[block.size.bit_length()][block] = self._added
        self.bytes += block.size

    def remove(self, block: Block) -> None:
        del self._bins[block.size.bit_length()][block]
        self.bytes -= block.size

    def find(self, size: int) -> Block | None:
        """Return a block that is large enough: of the smallest such class of sizes the latest."""
        smallest = size.bit_length()
        for block in reversed(self._bins[smallest]):
            if block.size >= size:
                return block
        for larger in self._bins[smallest + 1 :]:
            if larger:
                return next(reversed(larger))
        return None

    def oldest(self) -> Block | None:
        firsts = [next(iter(blocks.items())) for blocks in self._bins if blocks]
        return min(firsts, key=lambda item: item[1])[0] if firsts else None
