"""Objects that are bytes: put and get without a codec, upload and download of files.

As in `objects`, whose names these are, too.
"""

from __future__ import annotations

import os
from typing import Final

from .context import FlameContext
from .object_ref import ObjectRef
from .settled import settled_context

DATA_SECONDS: Final = 300.0  # for a call that moves an object


def put_bytes(
    prefix_or_key: str,
    data: bytes | bytearray | memoryview,
    *,
    pickled: bool = False,
    timeout: float = DATA_SECONDS,
    context: FlameContext | None = None,
) -> ObjectRef:
    """Store bytes as they are.

    Args:
        prefix_or_key: as for `put_object`.
        data: C-contiguous; not copied if large, so it must not change before this returns.
        pickled: whether the bytes are a pickle that `get_object`, also that of a stock worker, is
            to return the value of.
        timeout: seconds.
        context: the cluster; None for the current one.

    Returns:
        The address of the object.

    Raises:
        ClusterError, ConnectError, ClusterTimeoutError: as for `put_object`.
    """
    from . import object_calls as calls

    place = calls.place_in(prefix_or_key)
    sent = calls.payload_of_bytes(data, pickled)
    return calls.put(place, sent, timeout, context or settled_context())


def get_bytes(
    ref: ObjectRef,
    *,
    pickled: bool = False,
    timeout: float = DATA_SECONDS,
    context: FlameContext | None = None,
) -> memoryview:
    """Return the bytes of an object without its patches; nothing of it is remembered.

    Args:
        ref: the object.
        pickled: whether it is one that was put as a pickle; what is returned is the pickle.
        timeout: seconds.
        context: the cluster, for its CA file and token; None for the current one.

    Returns:
        A read-only view, which keeps the bytes alive.

    Raises:
        ClusterError: NOT_FOUND; there is no such object. INVALID_STATE; it is an Arrow table, or no
            pickle although one was asked for.
        ConnectError, ClusterTimeoutError: as for `put_object`.
    """
    from . import object_calls as calls

    calls.key_of(ref)
    return calls.bytes_of(ref, pickled, timeout, context or settled_context())


def upload_object(
    key_or_prefix: str,
    file_path: str | os.PathLike[str],
    *,
    timeout: float = DATA_SECONDS,
    context: FlameContext | None = None,
) -> ObjectRef:
    """Store the content of a file.

    Args:
        key_or_prefix: as for `put_object`; packages are at "<application>/pkg/<file name>".
        file_path: the file.
        timeout: seconds.
        context: the cluster; None for the current one.

    Returns:
        The address of the object.

    Raises:
        OSError: the file cannot be read.
        ClusterError, ConnectError, ClusterTimeoutError: as for `put_object`.
    """
    from . import object_calls as calls
    from . import object_files

    place = calls.place_in(key_or_prefix)
    cache = calls.main_cache(context or settled_context())
    return calls.changed(place, object_files.upload(cache, place, file_path, timeout))


def download_object(
    ref: ObjectRef,
    dest_path: str | os.PathLike[str],
    *,
    timeout: float = DATA_SECONDS,
    context: FlameContext | None = None,
) -> None:
    """Write an object's bytes to a file, which appears when it is whole.

    Args:
        ref: the object.
        dest_path: the file; folders are made, a file that is there is replaced.
        timeout: seconds.
        context: the cluster, for its CA file and token; None for the current one.

    Raises:
        OSError: the file cannot be written.
        ClusterError: NOT_FOUND; there is no such object. INVALID_STATE; it is an Arrow table.
        ConnectError, ClusterTimeoutError: as for `put_object`.
    """
    from . import object_calls as calls
    from . import object_files

    calls.key_of(ref)
    cache = calls.cache_of(ref, context or settled_context())
    object_files.download(cache, ref.key, dest_path, timeout)
