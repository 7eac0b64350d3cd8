"""What an engine keeps in the object cache. Calls block unless their name begins with `a`."""

from __future__ import annotations

import asyncio
import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, TypeVar

from flame_remote._ids import ObjectId
from flame_remote.exceptions import ClusterError, FlameError, FlameErrorCode, ObjectLostError

from .batch import Key
from .blobs import Piece, size_of

if TYPE_CHECKING:
    from flame_remote.core.context import FlameContext
    from flame_remote.core.object_ref import ObjectRef

T = TypeVar("T")

_SECONDS: Final = 300.0  # for a call that moves an object
_THREADS: Final = 4
# Fetched bytes that are kept for who takes the same value again. Objects never change.
_RECENT_BYTES: Final = 256 * 1024 * 1024


class Cache:
    """The object cache of a cluster. Safe to use from any thread."""

    def __init__(self, context: FlameContext) -> None:
        """Connect to nothing yet."""
        self.context = context
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="flame-cache")
        self._lock = threading.Lock()
        # Guarded by self._lock.
        self._recent: OrderedDict[str, Any] = OrderedDict()
        self._recent_bytes = 0

    def key_at(self, prefix: str, name: str) -> Key:
        """Return where an object will lie that is put under a name of our own."""
        return Key(self.context.cache_endpoint, f"{prefix}/{name}", 0)

    def put(self, place: str, pieces: Sequence[Piece]) -> Key:
        """Put an object, under a prefix or a whole key; the pieces may change afterwards."""
        ref = self._put(place, pieces)
        return Key(ref.endpoint, ref.key, size_of(pieces))

    def is_first_to_put(self, key: str) -> bool:
        """Put an object under a key; say whether there was none before."""
        return self._put(key, [b"claimed"]).version == 1

    def _put(self, place: str, pieces: Sequence[Piece]) -> ObjectRef:
        from flame_remote.core import object_calls, payload

        parsed = object_calls.place_in(place)
        sent = payload.payload_of_bytes([piece for piece in pieces if len(piece)])
        return object_calls.put(parsed, sent, _SECONDS, self.context)

    def get(self, key: Key, object_id: ObjectId) -> Any:
        """Return the bytes of an object, read-only. Raises ObjectLostError if it is not there."""
        with self._lock:
            known = self._recent.get(key.key)
            if known is not None:
                self._recent.move_to_end(key.key)
                return known
        try:
            data = self._get(key)
        except ClusterError as error:
            if error.code is not FlameErrorCode.NOT_FOUND:
                raise
            reason = f"the object cache has no {key.key} any more: it was deleted, or made room for"
            raise ObjectLostError(object_id, reason) from None
        self._remember(key.key, data)
        return data

    def find(self, key: Key) -> bytes | None:
        """Return the bytes of an object, None if it is not there."""
        try:
            return bytes(self._get(key))
        except ClusterError as error:
            if error.code is FlameErrorCode.NOT_FOUND:
                return None
            raise

    def _get(self, key: Key) -> memoryview:
        from flame_remote.core.object_bytes import get_bytes
        from flame_remote.core.object_ref import ObjectRef

        # Version 0: whatever there is.
        return get_bytes(ObjectRef(key.endpoint, key.key, 0), context=self.context)

    def _remember(self, key: str, data: memoryview) -> None:
        if data.nbytes > _RECENT_BYTES // 4:
            return
        with self._lock:
            self._forget(key)
            self._recent[key] = data
            self._recent_bytes += data.nbytes
            while self._recent_bytes > _RECENT_BYTES:
                self._forget(next(iter(self._recent)))

    def _forget(self, key: str) -> None:
        data = self._recent.pop(key, None)
        if data is not None:
            self._recent_bytes -= data.nbytes

    def delete(self, keys: Sequence[str], timeout: float = 30.0) -> None:
        """Delete objects. What is not there is no error, nor that nobody can be reached."""
        from flame_remote.core.objects import delete_many

        with self._lock:
            for key in keys:
                self._forget(key)
        with suppress(FlameError):  # the end of the application deletes them
            delete_many(keys, timeout=timeout, context=self.context)

    def delete_all(self, application: str, timeout: float) -> None:
        """Delete all objects of an application. Raises ClusterError."""
        from flame_remote.core.objects import delete_objects

        delete_objects(f"{application}/*", timeout=timeout, context=self.context)

    # --- on the loop --------------------------------------------------------------------

    async def aput(self, prefix: str, pieces: Sequence[Piece]) -> Key:
        """Put an object under a prefix."""
        return await self._in_thread(lambda: self.put(prefix, pieces))

    async def aput_at(self, key: Key, data: bytes) -> None:
        """Put an object where it was promised."""
        await self._in_thread(lambda: self.put(key.key, [data]))

    async def afind(self, key: Key) -> bytes | None:
        """Return the bytes of an object, None if it is not there."""
        return await self._in_thread(lambda: self.find(key))

    async def adelete(self, keys: Sequence[str]) -> None:
        """Delete objects, as delete()."""
        await self._in_thread(lambda: self.delete(keys))

    async def reply_at(self, address: bytes) -> tuple[str, bytes]:
        """Return key and bytes of what a stock worker put for us."""
        return await self._in_thread(lambda: self._reply_at(address))

    def _reply_at(self, address: bytes) -> tuple[str, bytes]:
        from flame_remote.core.object_ref import ObjectRef
        from flame_remote.core.objects import get_object

        ref = ObjectRef.decode(address)
        ref.version = 0
        return ref.key, bytes(get_object(ref, context=self.context))

    async def _in_thread(self, function: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, function)

    def close(self) -> None:
        """End the threads, once they have done what was begun."""
        self._threads.shutdown(wait=True)
        with self._lock:
            self._recent.clear()
        from flame_remote.core.flight import close_connections

        close_connections()
