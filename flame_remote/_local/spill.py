"""Where values go when memory is full: one file without a name, which ends with its processes."""

from __future__ import annotations

import bisect
import errno
import os
import zlib
from collections.abc import Callable
from typing import Final

from flame_remote.exceptions import SpillError

from . import _linux
from ._linux import PAGE_BYTES
from .arena import SEGMENT_SHIFT, Extent

SPILL_NUMBER: Final = (1 << SEGMENT_SHIFT) - 1  # the segment number that no arena reaches

# Between pieces of this size a write can be interrupted; the buffer that reads are checked through.
_PIECE_BYTES: Final = 1 << 20


class SpillFile:
    """A private file that values are written to and mapped from, made when it is first needed.

    It has a segment id like a segment of memory, so that whoever can map those can map it.
    Not thread-safe: one thread at a time. `write` and `read` block on the disk: best called without
    the engine's lock. A checksum of every extent is kept here, not in the file, and whoever reads
    the extent checks it before each use: `read` does, and `MappingCache.open` if it is told the
    checksum. It is CRC-32: made against failing disks, not against forgers, and the fastest that
    the standard library has (16 ms per 100 MB).
    """

    def __init__(
        self, owner: int, announce: Callable[[int, int], None], directory: str | None = None
    ) -> None:
        """Make no file yet.

        Args:
            owner: this process's number, the upper part of the segment id.
            announce: called once with (segment id, descriptor) when the file exists, before its
                first extent is handed out. The descriptor stays ours, until `close`.
            directory: where the file is to be; None for the system's temporary directory.
        """
        self.segment: Final = owner << SEGMENT_SHIFT | SPILL_NUMBER
        self._announce = announce
        self._directory = directory
        # Belong to the calling thread.
        self._fd: int | None = None
        self._end = 0  # of the part that extents were ever in
        self._checksums: dict[Extent, int] = {}
        self._free = _Ranges()
        self._used_bytes = 0

    @property
    def used_bytes(self) -> int:
        """What the extents take that are in use."""
        return self._used_bytes

    def write(self, view: memoryview) -> Extent:
        """Write the bytes, padded with zeros to whole pages; return where they are.

        Blocks on the disk, without the interpreter lock. Raises SpillError (ENOSPC, EDQUOT, EIO, a
        directory that cannot be written, ...); the file then has no trace of the attempt.
        """
        fd = self._open()
        size = -(-len(view) // PAGE_BYTES) * PAGE_BYTES
        offset = self._free.take(size)
        if offset is None:
            offset, self._end = self._end, self._end + size
        try:
            _write_all(fd, view, offset)
            padding = bytes(size - len(view))
            _write_all(fd, memoryview(padding), offset + len(view))
        except OSError as error:
            self._release(fd, offset, size)
            raise self._error(error) from error
        extent = Extent(self.segment, offset, size)
        self._checksums[extent] = zlib.crc32(padding, zlib.crc32(view))
        self._used_bytes += size
        return extent

    def checksum(self, extent: Extent) -> int:
        """Return the checksum of all of the extent, for whoever will read it."""
        return self._checksums[extent]

    def read(self, extent: Extent, view: memoryview) -> None:
        """Read the extent to the start of `view`, and check it.

        `view` is writable bytes and at least as long. Raises SpillError if the extent cannot be
        read or is not what was written (EIO); what `view` holds is then undefined.
        """
        expected = self._checksums[extent]
        fd = self._open()
        target = view[: extent.size]
        try:
            done = 0
            while done < extent.size:
                piece = target[done : done + _PIECE_BYTES]
                count = os.preadv(fd, [piece], extent.offset + done)
                if count == 0:
                    break
                done += count
        except OSError as error:
            raise self._error(error) from error
        if done < extent.size or zlib.crc32(target) != expected:
            raise self._error(OSError(errno.EIO, "not what was written"))

    def free(self, extent: Extent) -> None:
        """Give the extent's disk space back. No process may be reading it any more.

        Raises ValueError if it is not in use.
        """
        if self._checksums.pop(extent, None) is None or self._fd is None:
            raise ValueError(f"{extent} is not in use in this spill file")
        self._used_bytes -= extent.size
        self._release(self._fd, extent.offset, extent.size)

    def close(self) -> None:
        """Close the file; it is gone when every process that has its descriptor has done so.

        May be called twice. The object can then be used as a new one, and announces its new file.
        """
        if self._fd is not None:
            os.close(self._fd)
        self._fd = None
        self._end = self._used_bytes = 0
        self._checksums.clear()
        self._free = _Ranges()

    def _open(self) -> int:
        if self._fd is None:
            try:
                if self._directory is None:
                    import tempfile

                    self._directory = tempfile.gettempdir()
                self._fd = self._make_file(self._directory)
            except OSError as error:
                raise self._error(error) from error
        return self._fd

    def _make_file(self, directory: str) -> int:
        fd = _linux.unlinked_file(directory)
        try:
            self._announce(self.segment, fd)
        except BaseException:
            os.close(fd)
            raise
        return fd

    def _release(self, fd: int, offset: int, size: int) -> None:
        # Where holes cannot be punched the space is at least used again.
        _linux.punch_hole(fd, offset, size)
        self._free.give(offset, size)

    def _error(self, error: OSError) -> SpillError:
        directory = self._directory or "the temporary directory"
        try:
            system = os.statvfs(directory)
            free_bytes = system.f_bavail * system.f_frsize
        except OSError:
            free_bytes = 0
        return SpillError(error.errno or errno.EIO, directory, free_bytes)


def verify(fd: int, extent: Extent, checksum: int) -> None:
    """Read the extent through `fd` and compare it with its checksum.

    Blocks on the disk; the interpreter lock is released meanwhile. What was read is in the system's
    cache afterwards, so that a mapping of it need not go to the disk again. Raises SpillError if it
    cannot be read or differs.
    """
    buffer = bytearray(min(_PIECE_BYTES, extent.size))
    actual = 0
    done = 0
    try:
        while done < extent.size:
            with memoryview(buffer)[: extent.size - done] as piece:
                count = os.preadv(fd, [piece], extent.offset + done)
                if count == 0:
                    break
                actual = zlib.crc32(piece[:count], actual)
                done += count
    except OSError as error:
        raise SpillError(error.errno or errno.EIO, "the spill file", 0) from error
    if done < extent.size or actual != checksum:
        raise SpillError(errno.EIO, "the spill file", 0)


def _write_all(fd: int, view: memoryview, offset: int) -> None:
    done = 0
    while done < len(view):
        done += os.pwrite(fd, view[done : done + _PIECE_BYTES], offset + done)


class _Ranges:
    """Free ranges of the file, in order, no two of them touching."""

    def __init__(self) -> None:
        self._ranges: list[tuple[int, int]] = []  # (start, end)

    def take(self, size: int) -> int | None:
        """Return where `size` bytes were free: in the smallest range that has room."""
        fitting = [(end - start, start, end) for start, end in self._ranges if end - start >= size]
        if not fitting:
            return None
        _, start, end = min(fitting)
        index = bisect.bisect_left(self._ranges, (start, end))
        self._ranges[index : index + 1] = [(start + size, end)] if start + size < end else []
        return start

    def give(self, start: int, size: int) -> None:
        end = start + size
        first = last = bisect.bisect_left(self._ranges, (start, end))
        if first > 0 and self._ranges[first - 1][1] == start:
            first -= 1
            start = self._ranges[first][0]
        if last < len(self._ranges) and self._ranges[last][0] == end:
            end = self._ranges[last][1]
            last += 1
        self._ranges[first:last] = [(start, end)]
