"""Every segment of shared memory in the session: whose it is, how full, and the budget of all."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable

from flame_remote._ids import WorkerId
from flame_remote.exceptions import StoreFullError

from .arena import SEGMENT_SHIFT
from .mapping import MappingCache


class Segments:
    """The driver's book of segments. A segment outlives its owner while values lie in it.

    Budget is counted in bytes that owners have reserved; what a dead owner has reserved counts
    only as far as values lie in it.
    """

    def __init__(
        self, capacity_bytes: int, mappings: MappingCache, first_value: Callable[[], None]
    ) -> None:
        """Begin without any. `first_value` is called when a value comes where there was none."""
        self._first_value = first_value
        self.live_bytes = 0  # of values, in all
        self.capacity_bytes = capacity_bytes
        self.reserved_bytes = 0
        self._mappings = mappings
        self._descriptors: dict[int, int] = {}
        self._live_bytes: dict[int, int] = {}  # of values, by segment
        self._orphaned: set[int] = set()
        self.retired: deque[int] = deque()  # to be told to those who know them

    def reserve(self, size: int) -> None:
        """Take budget, or give it back if negative. Raises StoreFullError."""
        free = self.capacity_bytes - self.reserved_bytes
        if size > free:
            raise StoreFullError(size, free)
        self.reserved_bytes += size

    @property
    def free_bytes(self) -> int:
        """Budget that nobody has reserved."""
        return self.capacity_bytes - self.reserved_bytes

    def add(self, segment: int, descriptor: int) -> None:
        """Know a segment; keeps a descriptor of its own. Raises OSError (EMFILE)."""
        self._mappings.add_segment(segment, descriptor)
        try:
            self._descriptors[segment] = os.dup(descriptor)
        except OSError:
            self._mappings.remove_segment(segment)
            raise
        self._live_bytes[segment] = 0

    def descriptor(self, segment: int) -> int:
        """Return the descriptor of a known segment; it stays ours."""
        return self._descriptors[segment]

    def value_stored(self, segment: int, size: int) -> None:
        """A value lies there now."""
        if not self.live_bytes:
            self._first_value()
        self.live_bytes += size
        self._live_bytes[segment] = self._live_bytes.get(segment, 0) + size

    def value_freed(self, segment: int, size: int) -> bool:
        """A value is gone. Returns whether the segment's owner lives and wants its memory back."""
        self.live_bytes -= size
        self._live_bytes[segment] -= size
        if segment not in self._orphaned:
            return True
        self.reserved_bytes -= size
        if not self._live_bytes[segment]:
            self._retire(segment)
        return False

    def owner_lost(self, owner: WorkerId, reserved_bytes: int) -> None:
        """Adopt what a dead worker has left behind."""
        kept = 0
        for segment in [s for s in self._descriptors if s >> SEGMENT_SHIFT == owner]:
            kept += self._live_bytes[segment]
            self._orphaned.add(segment)
            if not self._live_bytes[segment]:
                self._retire(segment)
        self.reserved_bytes -= reserved_bytes - kept

    def retire(self, segment: int) -> None:
        """The owner has dropped an empty segment."""
        if segment in self._descriptors:
            self._retire(segment)

    def close(self) -> None:
        """Close all descriptors."""
        for descriptor in self._descriptors.values():
            os.close(descriptor)
        self._descriptors.clear()

    def _retire(self, segment: int) -> None:
        os.close(self._descriptors.pop(segment))
        del self._live_bytes[segment]
        self._orphaned.discard(segment)
        self._mappings.remove_segment(segment)
        self.retired.append(segment)
