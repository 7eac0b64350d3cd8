"""CachedObject: one version of one object, in the shape in which it is sent."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

import pyarrow as pa

from flame_remote.core import native
from flame_remote.core.payload import BASE, PATCH, RECEIVED_SCHEMA, binary_column

MOST_PATCHES: Final = 1000

_KINDS: Final = {kind: pa.array([kind], type=pa.string()) for kind in (BASE, PATCH)}
NOTHING_NEW: Final = RECEIVED_SCHEMA.empty_table()


@dataclass(frozen=True, slots=True)
class CachedObject:
    """An object, which is never changed: a patch makes another one of it.

    Attributes:
        schema: of the batches.
        base: batches of the object itself: one of one row, or those of an Arrow table.
        patches: a batch for each; their versions follow on that of the base without a gap.
        base_version: of the object without its patches.
        size: of all payload, in bytes.
    """

    schema: pa.Schema
    base: tuple[pa.RecordBatch, ...]
    patches: tuple[pa.RecordBatch, ...]
    base_version: int
    size: int

    @property
    def version(self) -> int:
        """That of the last patch, or of the base."""
        return self.base_version + len(self.patches)

    @property
    def is_table(self) -> bool:
        """Whether this is an Arrow table, which has no patches."""
        return native.is_native(self.schema)

    def patched(self, data: pa.Buffer) -> CachedObject:
        """Return this object with one more patch."""
        batch = row(self.version + 1, PATCH, data)
        patches = (*self.patches, batch)
        return CachedObject(
            self.schema, self.base, patches, self.base_version, self.size + data.size
        )

    def answer_to(self, known_version: int) -> pa.Table:
        """Return what somebody who knows that version must be sent; 0 means nothing is known."""
        if known_version == self.version:
            return NOTHING_NEW
        missing = self.version - known_version
        if known_version and 0 < missing <= len(self.patches):
            return pa.Table.from_batches(self.patches[-missing:], self.schema)
        return pa.Table.from_batches([*self.base, *self.patches], self.schema)


def of_bytes(version: int, data: pa.Buffer) -> CachedObject:
    """Return an object that is these bytes, which are not copied."""
    return CachedObject(RECEIVED_SCHEMA, (row(version, BASE, data),), (), version, data.size)


def of_table(version: int, schema: pa.Schema, batches: Iterable[pa.RecordBatch]) -> CachedObject:
    """Return an object that is an Arrow table; its schema will name the version."""
    metadata = {**schema.metadata, native.VERSION: str(version).encode()}
    named = schema.with_metadata(metadata)
    base = tuple(pa.RecordBatch.from_arrays(batch.columns, schema=named) for batch in batches)
    return CachedObject(named, base, (), version, sum(batch.nbytes for batch in base))


def row(version: int, kind: str, data: Any) -> pa.RecordBatch:
    """Return one row of an answer; the bytes are not copied."""
    columns = [pa.array([version], type=pa.uint64()), _KINDS[kind], binary_column(data)]
    return pa.RecordBatch.from_arrays(columns, schema=RECEIVED_SCHEMA)
