"""What kinds of values go through a cache, and come back as what they were."""

from __future__ import annotations

import datetime
import uuid
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from flame_remote.core import codecs, objects
from flame_remote.core.payload import rows_of
from flame_remote.exceptions import ClusterError
from tests.caches import Cache


def there_and_back(cache: Cache, value: Any) -> Any:
    prefix = f"values/{uuid.uuid4()}"
    ref = objects.put_object(prefix, value, context=cache.context)
    base = objects.get_object(ref, context=cache.context)
    patched = objects.put_object(prefix, None, context=cache.context)
    objects.patch_object(patched, value, context=cache.context)
    (patch,) = objects.get_object(patched, lambda _, patches: patches, context=cache.context)
    assert type(patch) is type(base)
    return base


class Point:
    def __init__(self, x: int) -> None:
        self.x = x


def test_anything_that_pickles_also_of_this_module_and_by_value(cache: Cache) -> None:
    scale = 3
    function = there_and_back(cache, lambda x: x * scale)
    assert function(2) == 6
    assert there_and_back(cache, Point(5)).x == 5
    assert there_and_back(cache, [None, 1, "ö", {1: b"x"}]) == [None, 1, "ö", {1: b"x"}]


ARRAYS = [
    np.arange(5),
    np.arange(6.0).reshape(2, 3),
    np.asfortranarray(np.arange(6, dtype="f4").reshape(2, 3)),
    np.array(3, dtype="u2"),
    np.zeros((0, 3)),
    np.arange(4, dtype="f2"),
    np.array([True, False]),
    np.arange(10)[::2],
    np.broadcast_to(np.arange(3), (4, 3)),
    np.arange(4, dtype=">i4"),
    np.arange(4, dtype="c16"),
    np.arange(4, dtype=np.longdouble),
    np.array(["a", "bc"]),
    np.array([b"a", b"bc"]),
    np.array([{"an": "object"}, None], dtype=object),
    np.array(["2020-01-02"], dtype="M8[D]"),
    np.array([5], dtype="m8[s]"),
    np.array([(1, 2.0)], dtype=[("a", "i4"), ("b", "f8")]),
]


@pytest.mark.parametrize("array", ARRAYS, ids=lambda array: f"{array.dtype}-{array.shape}")
def test_an_array_of_any_type_comes_back_equal_and_writable(
    cache: Cache, array: np.ndarray[Any, Any]
) -> None:
    result = there_and_back(cache, array)
    assert type(result) is np.ndarray
    assert (result.dtype, result.shape) == (array.dtype, array.shape)
    np.testing.assert_array_equal(result, array)
    result[...] = result  # does not raise


def test_arrays_of_numbers_are_tensors_and_keep_their_order() -> None:
    fortran = np.asfortranarray(np.arange(6.0).reshape(2, 3))
    data = pa.py_buffer(codecs.encode(fortran))
    assert data.slice(0, 4).to_pybytes() == codecs.TENSOR
    assert codecs.decode(data).flags.f_contiguous


def test_a_subclass_of_an_array_stays_one(cache: Cache) -> None:
    masked = there_and_back(cache, np.ma.masked_array([1, 2], mask=[False, True]))
    assert masked.mask.tolist() == [False, True]


def test_what_has_no_mark_is_a_pickle() -> None:
    import pickle

    assert codecs.decode(pa.py_buffer(pickle.dumps("bare"))) == "bare"
    assert codecs.decode(pa.py_buffer(b"N.")) is None  # shorter than a mark


def test_rows_without_kinds_are_a_base_and_patches() -> None:
    table = pa.table({"version": pa.array([1, 2], pa.uint64()), "data": [b"base", b"patch"]})
    rows = [(version, kind, data.to_pybytes()) for version, kind, data in rows_of(table)]
    assert rows == [(1, "base", b"base"), (2, "patch", b"patch")]


# --- tables ---------------------------------------------------------------------------------------

TABLE = pa.table(
    {
        "number": pa.array([1, None, 3], pa.int32()),
        "text": ["a", "b", None],
        "nested": [[1], [], None],
        "when": [datetime.datetime(2020, 1, 2), None, None],
    },
    metadata={"mine": "kept"},
)


@pytest.mark.parametrize(
    "table",
    [TABLE, TABLE.slice(0, 0), pa.table({}), pa.concat_tables([TABLE, TABLE]), TABLE.slice(1, 1)],
    ids=["plain", "empty", "no columns", "chunks", "slice"],
)
def test_a_table_comes_back_with_its_own_metadata_only(cache: Cache, table: pa.Table) -> None:
    result = there_and_back(cache, table)
    assert result.equals(table)
    assert (result.schema.metadata or None) == (table.schema.metadata or None)


def test_a_record_batch_comes_back_as_one_also_empty(cache: Cache) -> None:
    batch = TABLE.to_batches()[0]
    assert there_and_back(cache, batch).equals(batch)
    empty = batch.slice(0, 0)
    assert there_and_back(cache, empty).equals(empty)


def test_an_arrow_array_comes_back(cache: Cache) -> None:
    array = pa.array(["a", None, "b"])
    assert there_and_back(cache, array).equals(array)
    assert there_and_back(cache, array.slice(1)).equals(array.slice(1))
    dictionary = pa.array(["a", "b", "a"]).dictionary_encode()
    assert there_and_back(cache, dictionary).equals(dictionary)


def test_a_dictionary_column_which_caches_refuse_travels_as_bytes(cache: Cache) -> None:
    table = pa.table({"kind": pa.array(["a", "b", "a"]).dictionary_encode()})
    assert there_and_back(cache, table).equals(table)


class Dataset:
    def to_arrow(self) -> pa.Table:
        return TABLE


class NotADataset:
    def __init__(self) -> None:
        self.x = 1

    def to_arrow(self, needs: int) -> int:
        return needs


def test_what_can_become_a_table_is_stored_as_one(cache: Cache) -> None:
    ref = objects.put_object("values/dataset", Dataset(), context=cache.context)
    assert objects.get_object(ref, context=cache.context).equals(TABLE)
    assert there_and_back(cache, NotADataset()).x == 1


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_a_frame_comes_back_as_a_frame(cache: Cache, library: str) -> None:
    frames = pytest.importorskip(library, reason=f"{library} is not among the test requirements")
    frame = frames.DataFrame({"a": [1, 2], "b": ["x", "y"]})
    ref = objects.put_object("values/frame", frame, context=cache.context)
    result = objects.get_object(ref, context=cache.context)
    assert type(result) is type(frame)
    assert result.equals(frame)
    if library == "pandas":
        result.iloc[0, 0] = 7
        categories = frame.astype({"b": "category"})
        assert there_and_back(cache, categories).equals(categories)
        mixed = frames.DataFrame({"a": [1, "x", object]})
        assert there_and_back(cache, mixed).equals(mixed)


def test_an_object_that_no_row_can_hold_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    from flame_remote.core import payload
    from flame_remote.core.context import FlameContext

    monkeypatch.setattr(payload, "MOST_OBJECT_BYTES", 1000)
    nowhere = FlameContext(cache_endpoint="grpc://127.0.0.1:1")
    with pytest.raises(ClusterError, match="too large for the cache, which takes at most 1000"):
        objects.put_bytes("a/b", bytes(1001), context=nowhere)
