"""Values as they lie in the object cache, where they are too large for a message.

Little-endian; docs/formats.md has the table:

    magic b"FLMR", version u16, flags u16, count of buffers u32, length of the pickle u64,
    length of each buffer u64; the pickle; each buffer at a multiple of 64.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any, Final

from flame_remote._wire.packing import Packed
from flame_remote.exceptions import SerializationError

_MAGIC: Final = b"FLMR"
_VERSION: Final = 1
_HEAD: Final = struct.Struct("<4sHHIQ")
_ALIGNMENT: Final = 64

Piece = bytes | memoryview


def pieces_of(packed: Packed) -> list[Piece]:
    """Return a value as the pieces of one object. Those of its buffers are views, not copies."""
    views = [buffer.raw() for buffer in packed.buffers]
    lengths = struct.pack(f"<{len(views)}Q", *(view.nbytes for view in views))
    head = _HEAD.pack(_MAGIC, _VERSION, 0, len(views), len(packed.data))
    pieces: list[Piece] = [head, lengths, packed.data]
    end = len(head) + len(lengths) + len(packed.data)
    for view in views:
        padding = -end % _ALIGNMENT
        pieces += [bytes(padding), view]
        end += padding + view.nbytes
    return pieces


def open_blob(data: Any) -> tuple[memoryview, list[memoryview]]:
    """Return the pickle and the buffers of an object, as views of a copy that may be written to.

    Raises SerializationError if that is no object of ours.
    """
    view = memoryview(data)
    if len(view) < _HEAD.size:
        raise SerializationError(f"an object in the cache is cut off after {len(view)} bytes")
    magic, version, flags, count, size = _HEAD.unpack_from(view)
    if (magic, version, flags) != (_MAGIC, _VERSION, 0):
        raise SerializationError(
            f"an object in the cache is none of ours: it begins with {bytes(view[:8])!r}"
        )
    view = memoryview(bytearray(view)) if count else view
    start = _HEAD.size + 8 * count
    if len(view) < start + size:
        raise SerializationError(f"an object in the cache is cut off after {len(view)} bytes")
    lengths = struct.unpack_from(f"<{count}Q", view, _HEAD.size)
    pickled, end = view[start : start + size], start + size
    buffers: list[memoryview] = []
    for length in lengths:
        end += -end % _ALIGNMENT
        if end + length > len(view):
            raise SerializationError(f"an object in the cache is cut off after {len(view)} bytes")
        buffers.append(view[end : end + length])
        end += length
    return pickled, buffers


def size_of(pieces: Sequence[Piece]) -> int:
    """Return the bytes of all pieces together."""
    return sum(len(piece) if isinstance(piece, bytes) else piece.nbytes for piece in pieces)
