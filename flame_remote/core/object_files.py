"""Files to objects and back, a piece at a time."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
from pyarrow import flight

from flame_remote.exceptions import ClusterError, FlameErrorCode

from . import native, payload
from .cache_client import CacheClient
from .object_calls import wrong_kind
from .object_key import ObjectKey
from .object_ref import ObjectRef

_PIECE_BYTES: Final = 1 << 20


def upload(
    cache: CacheClient, place: ObjectKey, path: str | os.PathLike[str], timeout: float
) -> ObjectRef:
    """Store the content of a file. Raises OSError if it cannot be read."""
    size = os.stat(path).st_size
    if size > payload.MOST_OBJECT_BYTES:
        raise ClusterError(
            f"cannot upload {os.fspath(path)!r}: it has {size} bytes, an object has at most "
            f"{payload.MOST_OBJECT_BYTES}",
            FlameErrorCode.INVALID_ARGUMENT,
        )

    def batches() -> Iterator[pa.RecordBatch]:
        with open(path, "rb") as file:
            # At least one row: an empty file is an object, too.
            yield payload.sent_batch(file.read(_PIECE_BYTES))
            while piece := file.read(_PIECE_BYTES):
                yield payload.sent_batch(piece)

    return cache.put_batches(
        f"upload {os.fspath(path)!r} as {place}",
        flight.FlightDescriptor.for_path(str(place)),
        payload.SENT_SCHEMA,
        batches,
        timeout,
        repeatable=place.object_id is not None,
    )


def download(cache: CacheClient, key: str, path: str | os.PathLike[str], timeout: float) -> None:
    """Write an object's bytes to a file. Raises OSError if it cannot be written."""
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    fd, half = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
    try:
        with open(fd, "wb") as file:
            cache.read_batches(
                key, lambda schema, batches: _write(file, key, schema, batches), timeout
            )
        # mkstemp's files are for their owner only; this one is to be as any other new file.
        os.chmod(half, 0o666 & ~_umask())
        os.replace(half, target)
    except BaseException:
        with suppress(OSError):
            os.unlink(half)
        raise


def _write(file: Any, key: str, schema: pa.Schema, batches: Iterator[pa.RecordBatch]) -> None:
    """Write the rows of the base, from the start of the file."""
    if native.is_native(schema):
        raise wrong_kind(key, "it is an Arrow table, not bytes")
    file.seek(0)
    file.truncate()
    found = False
    for batch in batches:
        for _, kind, data in payload.rows_of(pa.Table.from_batches([batch])):
            if kind == payload.BASE:
                file.write(data)
                found = True
    if not found:
        raise ClusterError(f"cannot get object {key}: the object cache sent nothing of it")


def _umask() -> int:
    """Return the process's umask, which can be asked for only by setting it."""
    umask = os.umask(0o077)
    os.umask(umask)
    return umask
