"""How a value lies in the store: a header, a table, the pickle, and its out-of-band buffers.

    offset  type      what
    0       4 bytes   magic b"FLMR"
    4       u16       version, 1
    6       u16       flags, 0
    8       u32       count of buffers
    12      u64       length of the pickle
    20      u64, u64  offset and length of each buffer
    ...     bytes     the pickle (protocol 5), right after the table
    ...     bytes     the buffers, each at a multiple of 64

Little-endian; offsets count from the header. Bytes between the parts have no meaning and may be
left from an earlier value.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Final

from flame_remote.exceptions import SerializationError

if TYPE_CHECKING:
    from typing_extensions import Buffer

MAGIC: Final = b"FLMR"
VERSION: Final = 1
ALIGNMENT: Final = 64  # a cache line, and the widest vector register

_HEADER: Final = struct.Struct("<4sHHIQ")
_ENTRY: Final = struct.Struct("<QQ")
# memoryview copies with the interpreter lock held. Between pieces of this size (about 0.5 ms when
# memory is warm) another thread can have it; smaller pieces are no kinder and cost more.
_COPY_BYTES: Final = 4 << 20


def measure(pickle: Buffer, buffers: Sequence[Buffer]) -> int:
    """Return how many bytes `write` needs for the value."""
    lengths = [_length(buffer) for buffer in buffers]
    start = _pickle_offset(len(lengths))
    end = start + _length(pickle)
    for offset, length in zip(_offsets(end, lengths), lengths, strict=True):
        end = offset + length
    return end


def write(view: memoryview, pickle: Buffer, buffers: Sequence[Buffer]) -> int:
    """Write the value to the start of `view`; return how many bytes it takes.

    `view` is writable bytes, at least `measure(...)` of them, and starts at a multiple of 64 if the
    buffers' alignment matters. The buffers are contiguous, as `PickleBuffer.raw()` returns them.
    Copies at the speed of memory and keeps no reference. Raises ValueError if `view` is too short.
    """
    lengths = [_length(buffer) for buffer in buffers]
    pickle_start = _pickle_offset(len(lengths))
    pickle_length = _length(pickle)
    offsets = list(_offsets(pickle_start + pickle_length, lengths))
    size = offsets[-1] + lengths[-1] if offsets else pickle_start + pickle_length
    if size > len(view):
        raise ValueError(f"the value takes {size} bytes, there is room for {len(view)}")
    _HEADER.pack_into(view, 0, MAGIC, VERSION, 0, len(lengths), pickle_length)
    for index, entry in enumerate(zip(offsets, lengths, strict=True)):
        _ENTRY.pack_into(view, _HEADER.size + index * _ENTRY.size, *entry)
    _copy(pickle, view, pickle_start)
    for offset, buffer in zip(offsets, buffers, strict=True):
        _copy(buffer, view, offset)
    return size


def read(view: memoryview) -> tuple[memoryview, list[tuple[int, int]]]:
    """Return the pickle, as a part of `view`, and (offset, length) of each buffer.

    Reads in place and copies nothing. Raises SerializationError if the header is not ours or a part
    would lie outside of `view`; the pickle itself is not looked at.
    """
    if len(view) < _HEADER.size:
        raise SerializationError(f"a stored value has a header of 20 bytes, here are {len(view)}")
    magic, version, flags, count, pickle_length = _HEADER.unpack_from(view)
    if magic != MAGIC:
        raise SerializationError(f"a stored value begins with {MAGIC!r}, not {magic!r}")
    if version != VERSION or flags:
        raise SerializationError(
            f"stored value of version {version} and flags {flags:#x}, "
            f"known are version {VERSION} and no flags"
        )
    start = _pickle_offset(count)
    if start + pickle_length > len(view):
        raise SerializationError(
            f"stored value claims {count} buffers and a pickle of {pickle_length} bytes, "
            f"its extent has {len(view)} bytes"
        )
    table = list(_ENTRY.iter_unpack(view[_HEADER.size : start]))
    for offset, length in table:
        if offset + length > len(view):
            raise SerializationError(
                f"stored value claims {length} bytes at {offset}, its extent has {len(view)} bytes"
            )
    return view[start : start + pickle_length], table


def matches(view: memoryview, pickle: Buffer, buffers: Sequence[Buffer]) -> bool:
    """Say whether the value in `view` is what `write` would write now.

    Stops at the first difference. Keeps no reference, releases nothing of the caller's.
    """
    stored_pickle, table = read(view)
    if [length for _, length in table] != [_length(buffer) for buffer in buffers]:
        return False
    stored = [view[offset : offset + length] for offset, length in table]
    return _are_equal(stored_pickle, pickle) and all(map(_are_equal, stored, buffers))


def _are_equal(one: Buffer, other: Buffer) -> bool:
    with memoryview(one) as first, memoryview(other) as second:
        if first.nbytes != second.nbytes:
            return False
        with first.cast("B") as left, second.cast("B") as right:
            for start in range(0, len(left), _COPY_BYTES):
                if not _pieces_are_equal(left, right, start):
                    return False
    return True


def _pieces_are_equal(left: memoryview, right: memoryview, start: int) -> bool:
    """Compare pieces as words of 8 bytes, which goes eight times as fast, and what is left."""
    end = min(start + _COPY_BYTES, len(left))
    words = start + (end - start) // 8 * 8
    return (
        left[start:words].cast("Q") == right[start:words].cast("Q")
        and left[words:end] == right[words:end]
    )


def _pickle_offset(buffer_count: int) -> int:
    return _HEADER.size + buffer_count * _ENTRY.size


def _offsets(end: int, lengths: Sequence[int]) -> Iterator[int]:
    """Yield where each buffer starts if what comes before the first ends at `end`."""
    for length in lengths:
        start = -(-end // ALIGNMENT) * ALIGNMENT
        yield start
        end = start + length


def _length(buffer: Buffer) -> int:
    with memoryview(buffer) as view:
        return view.nbytes


def _copy(source: Buffer, target: memoryview, offset: int) -> None:
    with memoryview(source) as whole, whole.cast("B") as data:
        for start in range(0, len(data), _COPY_BYTES):
            piece = data[start : start + _COPY_BYTES]
            target[offset + start : offset + start + len(piece)] = piece
