"""The reader's side of the store: values as zero-copy buffers, private to who opened them."""

from __future__ import annotations

import bisect
import mmap
import os
import threading
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from flame_remote.exceptions import ObjectError

from . import _linux, spill, stored_value
from .fragile import finaliser

if TYPE_CHECKING:
    import weakref

    from .arena import Extent

# A reader that maps again pays the first look at the pages again; a page table entry per page is
# what it costs to stay mapped, 2 MB for this much.
IDLE_BYTES: Final = 1 << 30


class MappingCache:
    """Opens stored values as buffers in this process's memory. Safe to call from any thread.

    A segment is mapped as a whole, privately: a *plane*. Buffers on it show the stored bytes
    without a copy, and who writes to one gets copies of the pages written, seen by nobody else.
    While a value is in use, the same value opened again is shown on another plane of its segment.
    When the last buffer on a range is gone its written pages are thrown away, and it can be lent
    again.

    So a plane outlives the values on it. A page that this process never wrote shows what the
    segment holds *now*: when an extent is freed and holds another value, there is nothing stale to
    forget and nothing to map anew.
    """

    def __init__(self, idle_bytes: int = IDLE_BYTES) -> None:
        """Begin without segments. Idle planes are kept up to `idle_bytes` seen of them."""
        # Constant after construction.
        self._idle_bytes = idle_bytes
        # Appended to by finalisers, in any thread and at any point, so without a lock: a deque's
        # append and popleft are atomic. Emptied by holders of the lock.
        self._ended: deque[_Lease] = deque()
        # Guarded by self._lock.
        self._lock = threading.Lock()
        self._fds: dict[int, int] = {}
        self._planes: dict[int, list[_Plane]] = {}
        self._idle: dict[_Plane, None] = {}  # the longest idle first
        self._idle_seen_bytes = 0

    def add_segment(self, segment: int, fd: int) -> None:
        """Make the segment's values known. `fd` is duplicated and stays the caller's.

        Raises OSError (EMFILE), and ValueError if the segment is known.
        """
        with self._lock:
            if segment in self._fds:
                raise ValueError(f"segment {segment} is known already")
            self._fds[segment] = os.dup(fd)

    def remove_segment(self, segment: int) -> None:
        """Forget the segment, if known; its values can no more be opened. Buffers stay valid."""
        with self._lock:
            self._take_back()
            fd = self._fds.pop(segment, None)
            if fd is not None:
                os.close(fd)
            for plane in list(self._planes.get(segment, ())):
                plane.retired = True
                if not plane.leases:
                    self._drop(plane)

    def open(
        self, extent: Extent, on_release: Callable[[], None], checksum: int | None = None
    ) -> tuple[memoryview, list[memoryview]]:
        """Return the pickle and the out-of-band buffers of the value stored in `extent`.

        All are writable, writes are seen by no other `open`. The extent must not be freed before
        `on_release` is called: once, when nothing refers to any of the buffers any more, be it an
        array, a slice or a view of one. It is called by a finaliser, in any thread, even in the
        middle of this class: it may append to a deque, and must not lock, block or raise. If `open`
        raises it is not called, nor once the cache is closed.

        Takes microseconds and copies nothing. With a `checksum` (a spilled value's) the bytes are
        read and compared first, which blocks on the disk, without the lock. Raises
        SerializationError for bytes that are no stored value, SpillError where the checksum
        differs, ObjectError if the segment is unknown or ends before the extent, OSError if it
        cannot be mapped (ENOMEM).
        """
        import ctypes
        import weakref

        with self._lock:
            self._take_back()
            plane = self._plane_for(extent)
            file = None if checksum is None else os.dup(self._fds[extent.segment])
            self._unmark_idle(plane)
            lease = plane.lend(extent)
        try:
            if file is not None and checksum is not None:
                try:
                    spill.verify(file, extent, checksum)
                finally:
                    os.close(file)
            # The one object that all buffers, and what is made of them, keep alive. A memoryview
            # would not do: slices of it share what is below it, and can outlive it.
            memory = (ctypes.c_ubyte * extent.size).from_buffer(plane.mapping, extent.offset)
            view = memoryview(memory).cast("B")
            pickle, table = stored_value.read(view)
            buffers = [view[offset : offset + length] for offset, length in table]
        except BaseException:
            self._ended.append(lease)
            raise
        lease.watch = weakref.ref(memory, partial(_end, lease, self._ended, on_release))
        return pickle, buffers

    def collect(self) -> None:
        """Throw away what was written to buffers that are gone. `open` does so too.

        For a process that may not open anything for a while. Blocks for 0.8 ms per 100 MB at most,
        and 0.07 ms for each MB written.
        """
        with self._lock:
            self._take_back()

    def close(self) -> None:
        """Forget all segments. May be called twice. Buffers stay valid until they die."""
        with self._lock:
            self._take_back()
            for planes in self._planes.values():
                for plane in planes:
                    plane.retire_now()
            for fd in self._fds.values():
                os.close(fd)
            self._fds.clear()
            self._planes.clear()
            self._idle.clear()
            self._idle_seen_bytes = 0

    def _plane_for(self, extent: Extent) -> _Plane:
        """Return a plane on which the extent's range is not in use. The caller holds the lock."""
        fd = self._fds.get(extent.segment)
        if fd is None:
            raise ObjectError(f"segment {extent.segment} is not known here")
        size = os.fstat(fd).st_size
        if extent.end > size:  # touching a page out there would kill the process
            raise ObjectError(f"{extent} does not lie in its segment, which has {size} bytes")
        planes = self._planes.setdefault(extent.segment, [])
        for plane in planes:
            if plane.can_lend(extent):
                return plane
        # A spill file grows, and a mapping may reach beyond the end: it need not be made anew each
        # time. Segments of memory are powers of two already, but for very large ones.
        plane = _Plane(extent.segment, fd, 1 << (size - 1).bit_length())
        planes.append(plane)
        return plane

    def _take_back(self) -> None:
        """Take back what was lent and has ended. The caller holds the lock."""
        while self._ended:
            lease = self._ended.popleft()
            plane = lease.plane
            plane.take_back(lease)
            if plane.leases:
                continue
            if plane.retired:
                self._drop(plane)
            else:
                self._idle[plane] = None
                self._idle_seen_bytes += plane.seen_bytes
        while self._idle_seen_bytes > self._idle_bytes:
            self._drop(next(iter(self._idle)))

    def _unmark_idle(self, plane: _Plane) -> None:
        if plane in self._idle:
            del self._idle[plane]
            self._idle_seen_bytes -= plane.seen_bytes

    def _drop(self, plane: _Plane) -> None:
        self._unmark_idle(plane)
        planes = self._planes.get(plane.segment, [])
        if plane in planes:  # not if the cache was closed meanwhile
            planes.remove(plane)
        if not planes:
            self._planes.pop(plane.segment, None)


class _Plane:
    """A segment mapped privately, and the ranges that are lent. Guarded by the cache's lock."""

    __slots__ = ("_starts", "leases", "mapping", "retired", "seen_bytes", "segment", "size")

    def __init__(self, segment: int, fd: int, size: int) -> None:
        self.segment = segment
        self.size = size
        self.mapping: mmap.mmap = _linux.map_file(fd, size, shared=False)
        self.leases: dict[int, _Lease] = {}  # by where they start
        self._starts: list[int] = []  # the same, in order
        self.seen_bytes = 0  # at most so much of it has entries in the page table
        self.retired = False  # lends no more; goes when the last lease ends

    def can_lend(self, extent: Extent) -> bool:
        if self.retired or extent.end > self.size:
            return False
        index = bisect.bisect_right(self._starts, extent.offset)
        if index > 0 and self.leases[self._starts[index - 1]].end > extent.offset:
            return False
        return index == len(self._starts) or self._starts[index] >= extent.end

    def lend(self, extent: Extent) -> _Lease:
        lease = _Lease(self, extent.offset, extent.end)
        self.seen_bytes = min(self.size, self.seen_bytes + extent.size)
        self.leases[lease.start] = lease
        bisect.insort(self._starts, lease.start)
        return lease

    def take_back(self, lease: _Lease) -> None:
        """End the lease; throw away the pages that were written under it."""
        if self.leases.pop(lease.start, None) is None:
            return  # the cache was closed meanwhile
        del self._starts[bisect.bisect_left(self._starts, lease.start)]
        size = lease.end - lease.start
        if _linux.has_private_pages(
            self.mapping, lease.start, size
        ) and not _linux.discard_private_pages(self.mapping, lease.start, size):
            self.retired = True

    def retire_now(self) -> None:
        """Forget the leases. Their buffers keep the mapping alive, and report to nobody."""
        self.retired = True
        for lease in self.leases.values():
            lease.watch = None
        self.leases.clear()
        self._starts.clear()


class _Lease:
    """A range of a plane that buffers use, until `watch` sees the last of them go."""

    __slots__ = ("end", "plane", "start", "watch")

    def __init__(self, plane: _Plane, start: int, end: int) -> None:
        self.plane = plane
        self.start = start
        self.end = end
        self.watch: weakref.ref[Any] | None = None


@finaliser
def _end(
    lease: _Lease, ended: deque[_Lease], on_release: Callable[[], None], watch: object
) -> None:
    # In this order: once the engine has heard of it the extent may hold another value, and whoever
    # opens that must find the range taken back.
    ended.append(lease)
    on_release()
