"""What goes over Flight: the schemas of a Flame object cache, and values in them."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import pyarrow as pa

from . import codecs, native

# Sent: rows whose data, joined, is the object. The version is the cache's to give.
SENT_SCHEMA: Final = pa.schema([("version", pa.uint64()), ("data", pa.binary())])
# Received: one row of the kind "base", then one of the kind "patch" for each patch.
RECEIVED_SCHEMA: Final = pa.schema(
    [
        pa.field("version", pa.uint64(), nullable=False),
        pa.field("kind", pa.string(), nullable=False),
        pa.field("data", pa.binary(), nullable=False),
    ]
)
BASE: Final = "base"
PATCH: Final = "patch"

# An object comes back in one row, and Arrow counts the bytes of such a column in 32 bits.
MOST_OBJECT_BYTES: Final = 2**31 - 1
# Pieces up to this size are joined into one row: cheaper than a row of their own.
_JOINED_BYTES: Final = 64 * 1024
_OFFSETS: Final = struct.Struct("=ii")  # where the bytes of the only row begin and end


@dataclass(slots=True)
class Payload:
    """An object as it is sent: batches of one schema.

    `size` is in bytes. The batches may refer to memory of the value's own.
    """

    schema: pa.Schema
    batches: list[pa.RecordBatch]
    size: int


def payload_of(value: object) -> Payload:
    """Return the value as it is put: a table as itself, anything else as bytes.

    Raises whatever pickling the value raises, and OverflowError above MOST_OBJECT_BYTES.
    """
    table = native.to_table(value)
    if table is None:
        return payload_of_bytes([codecs.encode(value)])
    batches = table.to_batches() or [_empty_batch(table.schema)]
    return Payload(table.schema, batches, table.nbytes)


def payload_of_bytes(pieces: Sequence[Any]) -> Payload:
    """Return the pieces (bytes, memoryviews, Arrow buffers) as one object, large ones uncopied.

    Raises OverflowError if they are more than MOST_OBJECT_BYTES together.
    """
    views = [memoryview(piece).cast("B") for piece in pieces]
    size = sum(view.nbytes for view in views)
    if size > MOST_OBJECT_BYTES:
        raise OverflowError(
            f"an object of {size} bytes is too large for the cache, which takes at most "
            f"{MOST_OBJECT_BYTES}; divide it, or put it there as an Arrow table"
        )
    rows = [b"".join(views)] if size <= _JOINED_BYTES else views
    return Payload(SENT_SCHEMA, [sent_batch(row) for row in rows], size)


def sent_batch(data: Any) -> pa.RecordBatch:
    """Return a batch of one row with these bytes, which are not copied."""
    columns = [_VERSION_COLUMN, binary_column(data)]
    return pa.RecordBatch.from_arrays(columns, schema=SENT_SCHEMA)


def binary_column(data: Any) -> pa.Array:
    """Return a column of one row with these bytes, which are not copied."""
    buffer = pa.py_buffer(data)
    offsets = pa.py_buffer(_OFFSETS.pack(0, buffer.size))
    return pa.Array.from_buffers(pa.binary(), 1, [None, offsets, buffer])


def rows_of(table: pa.Table) -> Iterator[tuple[int, str, pa.Buffer]]:
    """Yield version, kind and data of the rows that a cache has sent; the data is not copied.

    Old caches name no kinds: the first row is the base then, the others are patches.
    """
    named = "kind" in table.column_names
    for index in range(table.num_rows):
        version = table.column("version")[index].as_py()
        kind = table.column("kind")[index].as_py() if named else (PATCH if index else BASE)
        yield version, kind, table.column("data")[index].as_buffer()


def _empty_batch(schema: pa.Schema) -> pa.RecordBatch:
    columns = [pa.array([], type=field.type) for field in schema]
    return pa.RecordBatch.from_arrays(columns, schema=schema)


_VERSION_COLUMN: Final = pa.array([0], type=pa.uint64())
