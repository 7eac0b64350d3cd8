"""Values as they lie in the object cache."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from flame_remote._flame.blobs import open_blob, pieces_of, size_of
from flame_remote._wire.packing import Packed, pack, unpack
from flame_remote.exceptions import SerializationError


def packed(value: Any) -> Packed:
    return pack(value, lambda: "the value")


def stored(value: Any) -> bytes:
    return b"".join(bytes(piece) for piece in pieces_of(packed(value)))


def test_a_value_comes_back_as_itself_and_its_arrays_can_be_written_to() -> None:
    value = {"a": np.arange(10_000), "b": [np.ones((300, 300)), "text"]}
    pickled, buffers = open_blob(memoryview(stored(value)))
    got = unpack(pickled, buffers)
    assert np.array_equal(got["a"], value["a"])
    got["b"][0][:] = 5
    assert got["b"][0].sum() == 5 * 300 * 300


def test_a_value_without_buffers_is_not_copied() -> None:
    data = stored("x" * 200_000)
    pickled, buffers = open_blob(data)
    assert pickled.obj is data
    assert buffers == []


def test_the_bytes_are_as_the_formats_page_says() -> None:
    array = np.arange(5000, dtype=np.int64)
    data = stored(array)
    assert data[:16] == b"FLMR\x01\x00\x00\x00\x01\x00\x00\x00" + data[12:16]
    pickle_size = int.from_bytes(data[12:20], "little")
    assert int.from_bytes(data[20:28], "little") == array.nbytes
    start = 28 + pickle_size
    assert data[start + -start % 64 :] == array.tobytes()


def test_size_is_that_of_all_pieces() -> None:
    pieces = pieces_of(packed(np.zeros(5000)))
    assert size_of(pieces) == len(b"".join(bytes(piece) for piece in pieces))


@pytest.mark.parametrize("cut", [0, 10, 24, 100, -1])
def test_an_object_that_is_cut_off_is_refused(cut: int) -> None:
    with pytest.raises(SerializationError, match="cut off"):
        open_blob(stored(np.zeros(5000))[:cut])


def test_an_object_that_is_none_of_ours_is_refused() -> None:
    with pytest.raises(SerializationError, match="none of ours"):
        open_blob(b"FLM\x00" + bytes(100))
