from __future__ import annotations

import pickle
import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flame_remote._local import stored_value
from flame_remote.exceptions import SerializationError


def stored(pickled: bytes, buffers=()) -> bytearray:
    value = bytearray(stored_value.measure(pickled, buffers))
    assert stored_value.write(memoryview(value), pickled, buffers) == len(value)
    return value


def parts(value) -> tuple[bytes, list[bytes]]:
    pickled, table = stored_value.read(memoryview(value))
    return bytes(pickled), [bytes(value[offset : offset + length]) for offset, length in table]


@given(st.binary(), st.lists(st.binary(max_size=300), max_size=6))
def test_what_is_written_is_read(pickled, buffers):
    value = stored(pickled, buffers)
    assert parts(value) == (pickled, buffers)
    _, table = stored_value.read(memoryview(value))
    assert all(offset % stored_value.ALIGNMENT == 0 for offset, _ in table)


def test_layout_is_the_documented_one():
    value = stored(b"pickle", [b"abc", b"de"])
    head = b"FLMR" + struct.pack("<HHIQ", 1, 0, 2, 6) + struct.pack("<QQQQ", 64, 3, 128, 2)
    assert value == head + b"pickle" + bytes(6) + b"abc" + bytes(61) + b"de"


def test_value_with_an_array_makes_the_round_trip():
    original = {"x": np.arange(1000.0), "empty": np.empty((0, 3)), "n": [1, 2]}
    views: list[pickle.PickleBuffer] = []
    pickled = pickle.dumps(original, protocol=5, buffer_callback=views.append)
    value = memoryview(stored(pickled, [view.raw() for view in views]))
    again, table = stored_value.read(value)
    copy = pickle.loads(again, buffers=[value[start : start + n] for start, n in table])
    np.testing.assert_array_equal(copy["x"], original["x"])
    assert copy["empty"].shape == (0, 3)
    assert copy["n"] == [1, 2]


def test_buffer_of_any_item_type_and_shape_is_copied_as_bytes():
    array = np.arange(12, dtype="i4").reshape(3, 4)
    assert parts(stored(b"", [array]))[1] == [array.tobytes()]


def test_buffer_larger_than_one_piece_of_the_copy_arrives_whole():
    data = bytes(range(256)) * (9 << 12)
    assert parts(stored(b"p", [data, b"tail"])) == (b"p", [data, b"tail"])


def test_value_may_be_written_over_an_older_longer_one():
    place = bytearray(stored(b"x" * 500, [b"y" * 900]))
    stored_value.write(memoryview(place), b"new", [b"n"])
    assert parts(place) == (b"new", [b"n"])


def test_room_that_is_too_small_is_refused_before_anything_is_written():
    place = bytearray(100)
    with pytest.raises(ValueError, match="takes 192 bytes, there is room for 100"):
        stored_value.write(memoryview(place), b"p", [b"x" * 128])
    assert place == bytes(100)


@pytest.mark.parametrize(
    ("offset", "format", "wrong"),
    [
        (0, "<4s", b"FLMX"),
        (4, "<H", 2),
        (6, "<H", 1),
        (8, "<I", 0xFFFFFFFF),
        (12, "<Q", 1 << 63),
        (20, "<Q", 1 << 63),
        (28, "<Q", 1 << 40),
    ],
    ids=["magic", "version", "flags", "count", "pickle length", "offset", "length"],
)
def test_header_that_is_not_ours_is_an_error(offset, format, wrong):
    value = stored(b"pickle", [b"abc"])
    struct.pack_into(format, value, offset, wrong)
    with pytest.raises(SerializationError, match="stored value"):
        stored_value.read(memoryview(value))


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(data):
    try:
        pickled, table = stored_value.read(memoryview(b"FLMR\1\0\0\0" + data))
    except SerializationError:
        return
    assert len(pickled) <= len(data)
    assert all(offset + length <= len(data) + 8 for offset, length in table)


def test_truncated_value_is_an_error():
    value = stored(b"pickle", [b"abc"])
    for length in range(len(value)):
        with pytest.raises(SerializationError):
            stored_value.read(memoryview(value)[:length])
