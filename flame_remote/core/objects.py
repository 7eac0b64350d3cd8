"""Objects in the cache of a Flame cluster: put, get, update, patch, delete, upload, download.

All functions block, are safe to call from any thread, and give up after `timeout` seconds. Without
a `context` they use what the environment and ~/.flame/flame.yaml said when first asked. Importing
this is cheap: pyarrow is loaded by the first call.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Final

from flame_remote import _refs

from .context import FlameContext
from .object_bytes import (
    DATA_SECONDS,
    download_object,
    get_bytes,
    put_bytes,
    upload_object,
)
from .object_ref import ObjectRef
from .settled import settled_context

__all__ = [
    "ObjectCount",
    "ObjectRef",
    "count_objects",
    "delete_many",
    "delete_object",
    "delete_objects",
    "download_object",
    "get_bytes",
    "get_object",
    "patch_object",
    "put_bytes",
    "put_object",
    "update_object",
    "upload_object",
]

CONTROL_SECONDS: Final = 30.0  # for a call that moves no object

Deserializer = Callable[[Any, list[Any]], Any]


@dataclass(frozen=True, slots=True)
class ObjectCount:
    """How many objects there are, and the bytes of their payloads."""

    keys: int
    bytes: int


# --- values ---------------------------------------------------------------------------------------


def put_object(
    prefix_or_key: str,
    obj: Any,
    *,
    timeout: float = DATA_SECONDS,
    context: FlameContext | None = None,
) -> ObjectRef:
    """Store a value.

    Arrow tables, record batches, frames of pandas and polars, and anything with `to_arrow()` are
    stored as Arrow tables; contiguous arrays of numbers as tensors; anything else is pickled.

    Args:
        prefix_or_key: "<application>/<session>" for a new object, or its whole key
            "<application>/<session>/<object>", which replaces the object if there is one.
        obj: the value.
        timeout: seconds.
        context: the cluster; None for the current one.

    Returns:
        The address of the object. Nothing deletes it but `delete_object` and `delete_objects`.

    Raises:
        ClusterError: INVALID_ARGUMENT for a wrong key; what the cache says otherwise.
        ConnectError: there is no cache.
        ClusterTimeoutError: the time is over.
    """
    from . import object_calls as calls

    place = calls.place_in(prefix_or_key)
    return calls.put(place, calls.payload_of(obj), timeout, context or settled_context())


def get_object(
    ref: Any,
    deserializer: Deserializer | None = None,
    *,
    timeout: float = DATA_SECONDS,
    context: FlameContext | None = None,
) -> Any:
    """Return the value of an object, as a new copy that the caller may change.

    An object that has not changed since this process got it last is not sent again, unless
    `ref.version` is 0.

    Args:
        ref: its address. Something that is no ref is returned as it is, so that a function need
            not know whether its argument was already fetched.
        deserializer: called with the object without its patches, and the list of patches; None
            ignores the patches.
        timeout: seconds.
        context: the cluster, for its CA file and token; None for the current one. Where the object
            is the ref says.

    Returns:
        What the deserializer returns, or the object without its patches.

    Raises:
        ClusterError: NOT_FOUND; there is no such object (any more). Others as the cache says.
        ConnectError: there is no cache.
        ClusterTimeoutError: the time is over.
        Exception: whatever unpickling the value raises.
    """
    if isinstance(ref, _refs.ObjectRef):
        return ref.get(timeout)
    address = _address_in(ref)
    if address is None:
        return ref
    from . import object_calls as calls

    calls.key_of(address)
    fetched = calls.fetch(address, timeout, context or settled_context())
    base = calls.value_in(fetched.base)
    if deserializer is None:
        return base
    return deserializer(base, [calls.value_in(patch) for patch in fetched.patches])


def update_object(
    ref: ObjectRef,
    new_obj: Any,
    *,
    timeout: float = DATA_SECONDS,
    context: FlameContext | None = None,
) -> ObjectRef:
    """Store another value in place of an object and its patches.

    Args:
        ref: the object; whatever version the ref has, the newest is replaced.
        new_obj: the value.
        timeout: seconds.
        context: the cluster, for its CA file and token; None for the current one.

    Returns:
        The ref with the new version.

    Raises:
        ClusterError, ConnectError, ClusterTimeoutError: as for `put_object`.
    """
    from . import object_calls as calls

    key = calls.key_of(ref)
    cache = calls.cache_of(ref, context or settled_context())
    return calls.changed(key, cache.put(ref.key, calls.payload_of(new_obj), timeout))


def patch_object(
    ref: ObjectRef,
    delta: Any,
    *,
    timeout: float = DATA_SECONDS,
    context: FlameContext | None = None,
) -> ObjectRef:
    """Append a patch to an object, which itself stays as it is.

    Args:
        ref: the object.
        delta: any value; what it means is up to the deserializer given to `get_object`.
        timeout: seconds.
        context: the cluster, for its CA file and token; None for the current one.

    Returns:
        The ref with the new version.

    Raises:
        ClusterError: NOT_FOUND; there is no such object. INVALID_ARGUMENT; it is an Arrow table, or
            has 1000 patches.
        ConnectError, ClusterTimeoutError: as for `put_object`.
    """
    from . import object_calls as calls

    key = calls.key_of(ref)
    cache = calls.cache_of(ref, context or settled_context())
    return calls.changed(key, cache.append(ref.key, calls.patch_of(delta), timeout))


# --- keys -----------------------------------------------------------------------------------------


def delete_object(
    ref: ObjectRef, *, timeout: float = CONTROL_SECONDS, context: FlameContext | None = None
) -> None:
    """Delete one object, in the cache that its ref names. It need not exist.

    Args:
        ref: the object.
        timeout: seconds.
        context: the cluster, for its CA file and token; None for the current one.

    Raises:
        ClusterError, ConnectError, ClusterTimeoutError: as for `put_object`.
    """
    from . import object_calls as calls

    calls.recent.forget(calls.key_of(ref))
    cache = calls.cache_of(ref, context or settled_context())
    cache.act("DELETE", ref.key, f"delete object {ref.key}", timeout)


def delete_objects(
    key_prefix: str, *, timeout: float = CONTROL_SECONDS, context: FlameContext | None = None
) -> None:
    """Delete all objects under a prefix, in the cluster's cache. There need not be any.

    Args:
        key_prefix: "<application>/<session>", "<application>/*" for all sessions, or a whole key.
        timeout: seconds.
        context: the cluster; None for the current one.

    Raises:
        ClusterError, ConnectError, ClusterTimeoutError: as for `put_object`.
    """
    from . import object_calls as calls

    calls.recent.forget(calls.pattern_in(key_prefix))
    cache = calls.main_cache(context or settled_context())
    cache.act("DELETE", key_prefix, f"delete objects {key_prefix}", timeout)


def delete_many(
    refs_or_keys: Iterable[ObjectRef | str],
    *,
    timeout: float = CONTROL_SECONDS,
    context: FlameContext | None = None,
) -> None:
    """Delete many objects, a thousand per round trip where the cache can do that.

    Args:
        refs_or_keys: refs, each deleted in its own cache, or keys, deleted in the cluster's.
        timeout: seconds for each cache.
        context: the cluster; None for the current one.

    Raises:
        ClusterError, ConnectError, ClusterTimeoutError: as for `put_object`; some may be deleted.
    """
    from . import object_calls as calls

    context = context or settled_context()
    keys_at: dict[str, list[str]] = {}
    for item in refs_or_keys:
        ref = ObjectRef(context.cache_endpoint, item) if isinstance(item, str) else item
        calls.recent.forget(calls.key_of(ref))
        keys_at.setdefault(ref.endpoint, []).append(ref.key)
    for endpoint, keys in keys_at.items():
        calls.cache_of(ObjectRef(endpoint, keys[0]), context).delete_many(keys, timeout)


def count_objects(
    prefix: str = "",
    *,
    timeout: float = CONTROL_SECONDS,
    context: FlameContext | None = None,
) -> ObjectCount:
    """Count objects; only the cache of a local cluster can do this.

    Args:
        prefix: as for `delete_objects`; "" counts everything.
        timeout: seconds.
        context: the cluster; None for the current one.

    Returns:
        The number of objects and of bytes.

    Raises:
        ClusterError, ConnectError, ClusterTimeoutError: as for `put_object`.
    """
    import bson

    from . import object_calls as calls

    if prefix:
        calls.pattern_in(prefix)
    cache = calls.main_cache(context or settled_context())
    document = bson.decode(cache.act("COUNT", prefix, f"count objects {prefix}", timeout))
    return ObjectCount(int(document["keys"]), int(document["bytes"]))


def _address_in(value: object) -> ObjectRef | None:
    """Return the ref that a value is, ours or that of a stock worker's flamepy; None if none."""
    if isinstance(value, ObjectRef):
        return value
    kind = type(value)
    if kind.__module__ == "flamepy.core.cache" and kind.__name__ == "ObjectRef":
        foreign: Any = value
        return ObjectRef(foreign.endpoint, foreign.key, foreign.version)
    return None
