"""Values that travel as Arrow tables, which other programs can read without Python."""

from __future__ import annotations

import importlib
import sys
from typing import Any, Final

import pyarrow as pa

# What the metadata of the schema says; the cache itself writes the version.
FORMAT: Final = b"flame.cache.format"
VERSION: Final = b"flame.cache.version"
LOGICAL_TYPE: Final = b"flame.cache.logical_type"
NATIVE_FORMAT: Final = b"arrow-table-v1"
_OURS: Final = b"flame.cache."

_TABLE: Final = b"pyarrow.table"
_BATCH: Final = b"pyarrow.record_batch"
_PANDAS: Final = b"pandas.dataframe"
_POLARS: Final = b"polars.dataframe"
_DATASET: Final = b"dataset"  # anything whose to_arrow() returns a table or a record batch


def to_table(value: object) -> pa.Table | None:
    """Return the value as a table whose metadata says what it was, or None if it is none.

    None also for a frame with columns that the cache refuses (dictionaries: categories of pandas)
    or that Arrow cannot hold.
    """
    found = _arrow_of(value)
    if found is None:
        return None
    logical_type, arrow = found
    table = pa.Table.from_batches([arrow]) if isinstance(arrow, pa.RecordBatch) else arrow
    if any(has_dictionary(field.type) for field in table.schema):
        return None
    return table.replace_schema_metadata(
        {
            **(table.schema.metadata or {}),
            FORMAT: NATIVE_FORMAT,
            VERSION: b"0",
            LOGICAL_TYPE: logical_type,
        }
    )


def from_table(table: pa.Table) -> Any:
    """Return the value that `to_table` made a table of.

    Where pandas or polars is missing it stays a table.
    """
    metadata = table.schema.metadata or {}
    logical_type = metadata.get(LOGICAL_TYPE, _TABLE)
    kept = {key: value for key, value in metadata.items() if not key.startswith(_OURS)}
    table = table.replace_schema_metadata(kept or None)
    if logical_type == _BATCH:
        return _one_batch(table)
    if logical_type == _PANDAS:
        return _pandas_frame(table)
    if logical_type == _POLARS:
        return _polars_frame(table)
    return table


def is_native(schema: pa.Schema) -> bool:
    """Say whether data with this schema is a table, not the bytes of an object."""
    return (schema.metadata or {}).get(FORMAT) == NATIVE_FORMAT


def version_of(schema: pa.Schema) -> int:
    """Return the version that the cache has written into a native schema; 0 if it has not."""
    text = (schema.metadata or {}).get(VERSION, b"0")
    return int(text) if text.isdigit() else 0


def has_dictionary(data_type: pa.DataType) -> bool:
    """Say whether the type is a dictionary, or has one inside."""
    if pa.types.is_dictionary(data_type):
        return True
    return any(has_dictionary(data_type.field(i).type) for i in range(data_type.num_fields))


def _arrow_of(value: Any) -> tuple[bytes, Any] | None:
    """Return the logical type of the value and its table or batch; None if it has none."""
    if isinstance(value, pa.Table):
        return _TABLE, value
    if isinstance(value, pa.RecordBatch):
        return _BATCH, value
    # A frame can only be one if its library is loaded; a subclass would come back as a bare frame.
    pandas, polars = sys.modules.get("pandas"), sys.modules.get("polars")
    if pandas is not None and isinstance(value, pandas.DataFrame):
        return _pandas_arrow(value) if type(value) is pandas.DataFrame else None
    if polars is not None and isinstance(value, polars.LazyFrame):
        return _POLARS, value.collect().to_arrow()
    if polars is not None and isinstance(value, polars.DataFrame):
        return _POLARS, value.to_arrow()
    return None if isinstance(value, type) else _dataset_arrow(value)


def _pandas_arrow(frame: Any) -> tuple[bytes, Any] | None:
    try:
        return _PANDAS, pa.Table.from_pandas(frame)
    except (pa.ArrowException, TypeError, ValueError):  # a column of mixed or unknown objects
        return None


def _dataset_arrow(value: object) -> tuple[bytes, Any] | None:
    convert = getattr(value, "to_arrow", None)
    if not callable(convert):
        return None
    try:
        arrow = convert()
    except TypeError:  # it wants arguments, so it is something else
        return None
    return (_DATASET, arrow) if isinstance(arrow, (pa.Table, pa.RecordBatch)) else None


def _one_batch(table: pa.Table) -> pa.RecordBatch:
    batches = table.combine_chunks().to_batches()
    if batches:
        return batches[0]
    return pa.RecordBatch.from_arrays(
        [pa.array([], type=field.type) for field in table.schema], schema=table.schema
    )


def _pandas_frame(table: pa.Table) -> Any:
    try:
        return table.to_pandas()
    except ImportError:
        return table


def _polars_frame(table: pa.Table) -> Any:
    try:
        polars = importlib.import_module("polars")
    except ImportError:
        return table
    return polars.from_arrow(table)
