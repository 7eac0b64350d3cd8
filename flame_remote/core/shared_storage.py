"""Objects written straight into the storage folder of a cache on the same machine."""

from __future__ import annotations

import os
import uuid
from contextlib import suppress
from pathlib import Path

import pyarrow as pa

from .object_key import ObjectKey
from .payload import SENT_SCHEMA, Payload, sent_batch


def write_new(storage: str, prefix: ObjectKey, payload: Payload) -> str | None:
    """Write a new object where the cache looks for it, and return its key.

    None if the folder cannot be used: the object is then sent over the network. Blocks on the
    disk.
    """
    object_id = str(uuid.uuid4())
    folder = Path(storage, prefix.application, prefix.session)
    half = folder / f"{object_id}.part"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with pa.OSFile(str(half), "wb") as file, pa.ipc.new_file(file, payload.schema) as writer:
            for batch in _as_one_row(payload):
                writer.write_batch(batch)
        half.replace(folder / f"{object_id}.arrow")  # nobody ever sees half an object
    except OSError:
        with suppress(OSError):
            os.unlink(half)
        return None
    return f"{prefix}/{object_id}"


def _as_one_row(payload: Payload) -> list[pa.RecordBatch]:
    """Return the batches, those of bytes joined: in a file the first row is the object."""
    if payload.schema != SENT_SCHEMA or len(payload.batches) == 1:
        return payload.batches
    pieces = [batch.column("data")[0].as_buffer() for batch in payload.batches]
    return [sent_batch(b"".join(pieces))]
