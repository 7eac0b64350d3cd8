"""What clients send to the object cache, read from the stream and checked."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from flame_remote.core import native
from flame_remote.core.payload import MOST_OBJECT_BYTES

from . import cached_object
from .cached_object import CachedObject


@dataclass(frozen=True, slots=True)
class Content:
    """An object that has no version yet.

    `make` makes it of a version; `data` is its bytes, None if it is an Arrow table. `size` is in
    bytes.
    """

    make: Callable[[int], CachedObject]
    data: pa.Buffer | None
    size: int


def read_content(
    schema: pa.Schema, batches: Iterator[pa.RecordBatch], most_bytes: int | None
) -> Content:
    """Read an object to its end.

    Args:
        schema: of the stream.
        batches: what was sent.
        most_bytes: that an object may have; None for no limit of our own.

    Raises:
        pa.ArrowInvalid: this is no object, or it is too large. Not all of it has been read then.
    """
    if native.is_native(schema):
        return _read_table(schema, batches, most_bytes)
    return _read_bytes(schema, batches, most_bytes)


def _read_table(
    schema: pa.Schema, batches: Iterator[pa.RecordBatch], most_bytes: int | None
) -> Content:
    for field in schema:
        if native.has_dictionary(field.type):
            raise pa.ArrowInvalid(
                f"column {field.name!r} is dictionary-encoded ({field.type}), which an object "
                "cache does not take; cast it to its plain type"
            )
    kept, size = [], 0
    for batch in batches:
        size += batch.nbytes
        _check_size(size, most_bytes)
        kept.append(batch)
    if not kept:
        raise pa.ArrowInvalid("No data received")
    return Content(lambda version: cached_object.of_table(version, schema, kept), None, size)


def _read_bytes(
    schema: pa.Schema, batches: Iterator[pa.RecordBatch], most_bytes: int | None
) -> Content:
    index = schema.get_field_index("data")
    if index < 0 or schema.field(index).type != pa.binary():
        raise pa.ArrowInvalid(
            "an object is sent as rows with a binary column 'data', or as a table with "
            f"'flame.cache.format' in its metadata; this stream has {schema.names}"
        )
    most = MOST_OBJECT_BYTES if most_bytes is None else min(most_bytes, MOST_OBJECT_BYTES)
    pieces: list[pa.Buffer] = []
    size = 0
    for batch in batches:
        for scalar in batch.column(index):
            piece = scalar.as_buffer()
            if piece is None:
                raise pa.ArrowInvalid("a row has no data: its sender has broken off")
            size += piece.size
            _check_size(size, most)
            pieces.append(piece)
    if not pieces:
        raise pa.ArrowInvalid("No data received")
    data = pieces[0] if len(pieces) == 1 else _joined(pieces, size)
    return Content(lambda version: cached_object.of_bytes(version, data), data, size)


def _joined(pieces: list[pa.Buffer], size: int) -> pa.Buffer:
    whole = pa.allocate_buffer(size)
    view: Any = memoryview(whole)
    end = 0
    for piece in pieces:
        view[end : end + piece.size] = piece
        end += piece.size
    return whole


def _check_size(size: int, most_bytes: int | None) -> None:
    if most_bytes is not None and size > most_bytes:
        raise pa.ArrowInvalid(
            f"the object is too large: this cache takes at most {most_bytes} bytes"
        )
