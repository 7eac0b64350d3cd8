"""What the functions of `objects` and `object_bytes` do; importing this loads pyarrow."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, Final

import pyarrow as pa

from flame_remote.exceptions import ClusterError, FlameErrorCode

from . import codecs, native, payload
from .cache_address import CacheAddress
from .cache_client import CacheClient
from .context import FlameContext
from .flight import connection_to
from .object_key import ObjectKey
from .object_ref import ObjectRef
from .payload import Payload
from .recent_objects import FetchedObject, RecentObjects
from .shared_storage import write_new

# What this process remembers of fetched objects, to fetch again only what has changed.
_RECENT_BYTES: Final = 64 << 20

recent: Final = RecentObjects(_RECENT_BYTES)
os.register_at_fork(after_in_child=recent.after_fork_in_child)


# --- which cache ----------------------------------------------------------------------------------


def main_cache(context: FlameContext) -> CacheClient:
    """Return the cache that the settings name, where new objects go."""
    origin = context.origin("cache_endpoint")
    return _cache(context.cache_endpoint, origin, context)


def cache_of(ref: ObjectRef, context: FlameContext) -> CacheClient:
    """Return the cache that holds an object."""
    if ref.endpoint == context.cache_endpoint:
        return main_cache(context)
    return _cache(ref.endpoint, f"the ref of {ref.key}", context)


def _cache(endpoint: str, origin: str, context: FlameContext) -> CacheClient:
    address = CacheAddress(endpoint, context.cache_ca_file, context.token, origin)
    return CacheClient(connection_to(address))


# --- keys -----------------------------------------------------------------------------------------


def place_in(path: str) -> ObjectKey:
    """Return where something is to be put. Raises ClusterError, INVALID_ARGUMENT."""
    return _checked(ObjectKey.parse_place, path)


def key_of(ref: ObjectRef) -> ObjectKey:
    """Return the key of an object. Raises ClusterError, INVALID_ARGUMENT."""
    return _checked(ObjectKey.parse_object, ref.key)


def pattern_in(path: str) -> ObjectKey:
    """Return the objects that are meant. Raises ClusterError, INVALID_ARGUMENT."""
    return _checked(ObjectKey.parse, path)


def _checked(parse: Callable[[str], ObjectKey], path: str) -> ObjectKey:
    try:
        return parse(path)
    except ValueError as error:
        raise ClusterError(str(error), FlameErrorCode.INVALID_ARGUMENT) from None


# --- putting --------------------------------------------------------------------------------------


def payload_of(value: object) -> Payload:
    """Return a value as it is put. Raises ClusterError, INVALID_ARGUMENT, if it is too large."""
    return _sized(lambda: payload.payload_of(value))


def patch_of(value: object) -> Payload:
    """Return a value as it is appended: tables, too, as bytes."""
    return _sized(lambda: payload.payload_of_bytes([codecs.encode(value)]))


def payload_of_bytes(data: Any, pickled: bool) -> Payload:
    """Return bytes as they are put, marked as a pickle or as they are."""
    return _sized(lambda: payload.payload_of_bytes([codecs.PICKLE, data] if pickled else [data]))


def _sized(make: Callable[[], Payload]) -> Payload:
    try:
        return make()
    except OverflowError as error:
        raise ClusterError(str(error), FlameErrorCode.INVALID_ARGUMENT) from None


def put(place: ObjectKey, sent: Payload, timeout: float, context: FlameContext) -> ObjectRef:
    """Store a new object, or the whole of one; by way of the shared folder if there is one."""
    cache = main_cache(context)
    if context.cache_storage is not None and place.object_id is None:
        key = write_new(context.cache_storage, place, sent)
        if key is not None:
            return ObjectRef(cache.endpoint_of(key, timeout), key, 1)
    return changed(place, cache.put(str(place), sent, timeout))


def changed(place: ObjectKey, ref: ObjectRef) -> ObjectRef:
    """Forget what is remembered of an object that has a new version; return the ref."""
    if place.object_id is not None:
        recent.forget(place)
    return ref


# --- getting --------------------------------------------------------------------------------------


def fetch(ref: ObjectRef, timeout: float, context: FlameContext) -> FetchedObject:
    """Return an object as it is now, sent or remembered."""
    cache = cache_of(ref, context)
    known = recent.get(ref.endpoint, ref.key) if ref.version else None
    answer = cache.fetch(ref.key, known.version if known else 0, timeout)
    if answer.fetched is None and known is not None:
        return known
    fetched = answer.fetched
    if fetched is not None and answer.only_patches:
        # Patches alone were not asked for, or there is nothing that they could be added to.
        fetched = known.patched(fetched.version, fetched.patches) if known else None
    if fetched is None:
        raise ClusterError(f"cannot get object {ref.key}: the object cache sent nothing of it")
    recent.remember(ref.endpoint, ref.key, fetched)
    return fetched


def value_in(stored: Any) -> Any:
    """Rebuild a value, of the bytes or the table that the cache sent."""
    return native.from_table(stored) if isinstance(stored, pa.Table) else codecs.decode(stored)


def bytes_of(ref: ObjectRef, pickled: bool, timeout: float, context: FlameContext) -> memoryview:
    """Return an object's bytes, without the mark of a pickle if it must have one."""
    fetched = cache_of(ref, context).fetch(ref.key, 0, timeout).fetched
    if fetched is None or fetched.base is None:
        raise ClusterError(f"cannot get object {ref.key}: the object cache sent nothing of it")
    if isinstance(fetched.base, pa.Table):
        raise wrong_kind(ref.key, "it is an Arrow table, not bytes")
    data = memoryview(fetched.base).cast("B")
    if not pickled:
        return data
    if data[: len(codecs.PICKLE)].tobytes() != codecs.PICKLE:
        raise wrong_kind(ref.key, "it is no pickle")
    return data[len(codecs.PICKLE) :]


def wrong_kind(key: str, reason: str) -> ClusterError:
    """Return the error for an object that is not what the call can deliver."""
    return ClusterError(
        f"cannot get the bytes of object {key}: {reason}; use get_object",
        FlameErrorCode.INVALID_STATE,
    )
