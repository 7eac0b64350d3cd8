"""Stored values to and from shared memory, the same way in every process."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any, Final, NamedTuple

from flame_remote._deadline import Deadline
from flame_remote._execute.failure import rebuild_error
from flame_remote._ids import ObjectId
from flame_remote._outcome import Kind
from flame_remote._wire.packing import Packed, unpack
from flame_remote.exceptions import EngineClosedError, ObjectError, StoreFullError

from . import stored_value
from .arena import Arena, Extent
from .limits import explain
from .mapping import MappingCache
from .turn import Turn

# Free memory is worth keeping: using it again costs a fiftieth of getting it anew
# (benchmarks/store.py). Twice this much free is cut down to this much.
_KEEP_BYTES: Final = 512 << 20

# How long storing waits for room that others are making, since anything has changed and in all,
# and how often it looks.
_ROOM_SECONDS: Final = 1.0
_ROOM_LIMIT_SECONDS: Final = 20.0
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

    def store(self, packed: Packed, taken: list[Extent] | None = None) -> tuple[Kind, Any]:
        """Return kind and data of a packed value, copied to shared memory if it is large.

        That memory is noted in `taken`: who is interrupted before the value is known to all others
        gives it back. Blocks while room is being made. Raises StoreFullError, SpillError.
        """
        if packed.rides_inline:
            return Kind.PICKLED, packed.data
        buffers = [buffer.raw() for buffer in packed.buffers]
        size = stored_value.measure(packed.data, buffers)
        taken = [] if taken is None else taken
        try:
            view = self._allocate_patiently(size, taken)
            stored_value.write(view, packed.data, buffers)
        except BaseException:
            self.give_back(taken)
            raise
        (extent,) = taken
        return Kind.STORED, (extent.segment, extent.offset, extent.size, None)

    def holds(self, location: Location, packed: Packed) -> bool:
        """Say whether a stored value lies in this process's own memory and is made of those bytes.

        It must be pinned. Reads it to the end if it is, without holding anybody up.
        """
        segment, offset, size, _ = location
        with self.turn:
            if self._arena is None or not self._arena.has(segment):
                return False
            view = self._arena.view(Extent(segment, offset, size))
        return stored_value.matches(view, packed.data, [buffer.raw() for buffer in packed.buffers])

    def free(self, segment: int, offset: int, size: int) -> None:
        """Take back what `store` has given out, for the next `store`. Never blocks."""
        self._freed.append(Extent(segment, offset, size))

    def give_back(self, taken: list[Extent]) -> None:
        """Take back what `store` has noted, and empty the list. Never blocks."""
        while taken:
            self._freed.append(taken.pop())

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

    def _allocate_patiently(self, size: int, taken: list[Extent]) -> memoryview:
        limit, patience, free = Deadline(_ROOM_LIMIT_SECONDS), Deadline(_ROOM_SECONDS), 0
        while True:
            try:
                return self._allocate(size, taken)
            except StoreFullError as error:
                if error.free_bytes != free:  # it is going on, be it slowly
                    free, patience = error.free_bytes, Deadline(_ROOM_SECONDS)
                if patience.expired() or limit.expired():
                    raise
            except OSError as error:
                what = f"a value of {size} bytes cannot be stored"
                raise ObjectError(f"{what}: {explain(error)}") from error
            self._make_room(size)

    def _allocate(self, size: int, taken: list[Extent]) -> memoryview:
        with self.turn:
            if self._closed:
                raise EngineClosedError()
            if self._arena is None:
                self._arena = self._make_arena()
            self._take_back(self._arena)
            taken.append(self._arena.allocate(size))
            return self._arena.view(taken[0])

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


class Opened(NamedTuple):
    """A value that can be rebuilt: an atom as it is, or a pickle and its buffers."""

    kind: int
    data: Any
    buffers: Sequence[memoryview] = ()

    def load(self) -> Any:
        """Rebuild the value. Runs its own code; raises whatever that raises."""
        if self.kind == Kind.FAILED:  # freed after the task that takes it was submitted
            raise rebuild_error(self.data)
        return self.data if self.kind == Kind.ATOM else unpack(self.data, self.buffers)


def open_values(
    values: Iterable[tuple[ObjectId, int, Any]],
    mappings: MappingCache,
    unpinned: deque[ObjectId],
) -> list[Opened]:
    """Open values that came in a message, as (object id, kind, data); runs no code of the user's.

    Each stored one is pinned. It is added to `unpinned` when nothing reads it any more; those that
    are left over, if one cannot be opened, at once. Raises as MappingCache.open does.
    """
    opened: list[Opened] = []
    left = iter(values)
    try:
        for object_id, kind, data in left:
            if kind == Kind.STORED:
                release = partial(unpinned.append, object_id)
                opened.append(Opened(kind, *open_value(data, mappings, release)))
            else:
                opened.append(Opened(kind, data))
    except BaseException:
        unpin(left, unpinned)
        raise
    return opened


def unpin(values: Iterable[tuple[ObjectId, int, Any]], unpinned: deque[ObjectId]) -> None:
    """Note that nobody will open these values, which came as for `open_values`."""
    unpinned.extend(object_id for object_id, kind, _ in values if kind == Kind.STORED)
