"""Values to the bytes that Flame keeps in an object, and back.

Four bytes in front say what follows: `FLM` and a number. What begins otherwise is a bare pickle.
"""

from __future__ import annotations

import io
import pickle
import sys
from collections.abc import Callable, Mapping
from typing import Any, Final

import pyarrow as pa

PICKLE: Final = b"FLM\x00"
TENSOR: Final = b"FLM\x01"  # an Arrow tensor: a contiguous array of numbers
TABLE: Final = b"FLM\x02"  # an Arrow stream of a table; whole tables travel as themselves
ARRAY: Final = b"FLM\x03"  # an Arrow stream of one batch with one column, "data"
BATCH: Final = b"FLM\x04"  # an Arrow stream of one record batch
_MARK_BYTES: Final = 4


def encode(value: Any) -> Any:
    """Return the bytes of a value, the mark in front, as something that has a buffer.

    They are a copy: the value may change afterwards. Raises whatever pickling it raises.
    """
    if isinstance(value, pa.Table):
        return _stream(TABLE, value.schema, lambda writer: writer.write_table(value))
    if isinstance(value, pa.RecordBatch):
        return _stream(BATCH, value.schema, lambda writer: writer.write_batch(value))
    if isinstance(value, pa.Array):
        batch = pa.RecordBatch.from_arrays([value], names=["data"])
        return _stream(ARRAY, batch.schema, lambda writer: writer.write_batch(batch))
    if _fits_a_tensor(value):
        return _tensor(value)
    import cloudpickle

    stream = io.BytesIO()  # a pickle in one piece: what is large is copied into it only once
    stream.write(PICKLE)
    cloudpickle.Pickler(stream).dump(value)
    return stream.getbuffer()


def decode(data: pa.Buffer) -> Any:
    """Rebuild the value, as a new object each time; arrays can be written to.

    `data` is kept alive by Arrow values only, which cannot be changed. A pickle runs its own code
    and raises what that raises.
    """
    reader = _READERS.get(data.slice(0, min(_MARK_BYTES, data.size)).to_pybytes())
    if reader is None:  # written by something that puts no mark
        return pickle.loads(data)
    return reader(data.slice(_MARK_BYTES))


def _fits_a_tensor(value: object) -> bool:
    """Say whether the value is an array that comes back from an Arrow tensor as it was.

    Arrow has no tensors of other types than these, makes bytes of booleans and ignores the byte
    order; a subclass (a masked array, say) would come back as a bare array.
    """
    numpy = sys.modules.get("numpy")
    if numpy is None or type(value) is not numpy.ndarray:
        return False
    array: Any = value
    return (
        array.dtype.kind in "iuf"
        and array.dtype.itemsize <= 8
        and array.dtype.isnative
        and (array.flags.c_contiguous or array.flags.f_contiguous)
    )


def _tensor(array: Any) -> pa.Buffer:
    tensor = pa.Tensor.from_numpy(array)
    # Of the exact size: a stream that grows would copy a large array several times.
    buffer = pa.allocate_buffer(len(TENSOR) + pa.ipc.get_tensor_size(tensor))
    sink = pa.FixedSizeBufferWriter(buffer)
    sink.write(TENSOR)
    pa.ipc.write_tensor(tensor, sink)
    return buffer


def _stream(mark: bytes, schema: pa.Schema, write: Callable[[Any], None]) -> pa.Buffer:
    sink = pa.BufferOutputStream()
    sink.write(mark)
    with pa.ipc.new_stream(sink, schema) as writer:
        write(writer)
    return sink.getvalue()


def _read_tensor(data: pa.Buffer) -> Any:
    # A copy: the tensor's own memory is read-only, and may be remembered for the next reader.
    return pa.ipc.read_tensor(pa.BufferReader(data)).to_numpy().copy(order="K")


def _read_table(data: pa.Buffer) -> Any:
    return pa.ipc.open_stream(data).read_all()


def _read_batch(data: pa.Buffer) -> Any:
    return pa.ipc.open_stream(data).read_next_batch()


def _read_array(data: pa.Buffer) -> Any:
    return _read_batch(data).column(0)


_READERS: Final[Mapping[bytes, Callable[[pa.Buffer], Any]]] = {
    PICKLE: pickle.loads,
    TENSOR: _read_tensor,
    TABLE: _read_table,
    ARRAY: _read_array,
    BATCH: _read_batch,
}
