"""Stored values to and from shared memory, the same way in every process."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any, Final

from flame_remote._deadline import Deadline
from flame_remote._outcome import Kind
from flame_remote._wire.packing import Packed
from flame_remote.exceptions import EngineClosedError, StoreFullError

from . import stored_value
from .arena import Arena, Extent
from .mapping import MappingCache
from .turn import Turn

# Free memory is worth keeping: using it again costs a fiftieth of getting it anew
# (benchmarks/store.py). Twice this much free is cut down to this much.
_KEEP_BYTES: Final = 512 << 20

# How long storing waits for room that others are making, and how often it looks.
_ROOM_SECONDS: Final = 1.0
ROOM_STEP_SECONDS: Final = 0.02

# Where a stored value lies, as it travels: segment, offset, size, and a checksum if it was spilled.
Location = tuple[int, int, int, int | None]


class Storage:
    """This process's own shared memory, made when the first large value needs it.

    Has a turn of its own, so that copying a large value holds nobody else up. Safe to call from
    any thread.
    """

    def __init__(
        self,
        make_arena: Callable[[], Arena],
        give_back_budget: Callable[[int], None],
        make_room: Callable[[int], None],
    ) -> None:
        """`make_room` is asked for a number of bytes when there is no room, and takes its time."""
        self.turn = Turn()
        self._make_arena = make_arena
        self._give_back_budget = give_back_budget
        self._make_room = make_room
        self._arena: Arena | None = None  # guarded by self.turn
        self._shrink_due = False  # set by any thread
        self._closed = False
        # Appended to in any thread, without waiting for whoever is storing something.
        self._freed: deque[Extent] = deque()

    def store(self, packed: Packed) -> tuple[Kind, Any]:
        """Return kind and data of a packed value, copied to shared memory if it is large.

        Blocks while room is being made. Raises StoreFullError, SpillError.
        """
        if packed.rides_inline:
            return Kind.PICKLED, packed.data
        buffers = [buffer.raw() for buffer in packed.buffers]
        size = stored_value.measure(packed.data, buffers)
        patience = Deadline(_ROOM_SECONDS)
        while True:
            try:
                extent, view = self._allocate(size)
                break
            except StoreFullError:
                if patience.expired():
                    raise
            self._make_room(size)
        stored_value.write(view, packed.data, buffers)
        return Kind.STORED, (extent.segment, extent.offset, extent.size, None)

    def free(self, segment: int, offset: int, size: int) -> None:
        """Take back what `store` has given out, for the next `store`. Never blocks."""
        self._freed.append(Extent(segment, offset, size))

    def shrink(self) -> None:
        """Give back to the budget all memory that is not in use; if that is being changed, soon.

        Does not wait for whoever is storing something: he may be waiting for the caller.
        """
        self._shrink_due = True
        if self.turn.enter_if_free():
            try:
                if self._arena is not None:
                    self._take_back(self._arena)
            finally:
                self.turn.__exit__()

    def _allocate(self, size: int) -> tuple[Extent, memoryview]:
        with self.turn:
            if self._closed:
                raise EngineClosedError()
            if self._arena is None:
                self._arena = self._make_arena()
            self._take_back(self._arena)
            extent = self._arena.allocate(size)
            return extent, self._arena.view(extent)

    def _take_back(self, arena: Arena) -> None:
        while self._freed:
            arena.free(self._freed.popleft())
        if self._shrink_due:
            self._shrink_due = False
            self._give_back_budget(arena.trim(0))
        elif arena.free_bytes > 2 * _KEEP_BYTES:
            self._give_back_budget(arena.trim(_KEEP_BYTES))

    def close(self) -> None:
        """Give all memory back; nothing can be stored from now on."""
        with self.turn:
            self._closed = True
            self._freed.clear()
            if self._arena is not None:
                self._arena.close()
                self._arena = None


def open_value(
    location: Location, mappings: MappingCache, on_release: Callable[[], None]
) -> tuple[memoryview, list[memoryview]]:
    """Return a stored value's pickle and buffers, where they lie; runs no code of the user's.

    `on_release` is called exactly once, when nothing reads the stored bytes any more, whether or
    not this succeeds. Inside a turn, so that Ctrl-C does not tear the bookkeeping.
    """
    segment, offset, size, checksum = location
    try:
        return mappings.open(Extent(segment, offset, size), on_release, checksum)
    except BaseException:
        on_release()
        raise
