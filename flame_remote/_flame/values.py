"""Values of users, as an engine keeps them: small ones with it, the others in the cache."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from flame_remote._execute.result import cannot_rebuild
from flame_remote._ids import ObjectId
from flame_remote._outcome import Kind
from flame_remote._wire.packing import Packed, unpack
from flame_remote.exceptions import FlameError

from .batch import Key
from .blobs import open_blob, pieces_of
from .cache import Cache
from .inbox import Inbox
from .program import MAIL, OBJECTS, Program
from .table import Table


class Values:
    """Puts values where they are kept and rebuilds them. Any thread; most methods block."""

    def __init__(self, program: Program, cache: Cache, table: Table, inbox: Inbox) -> None:
        # Constant after construction.
        self._program = program
        self._cache = cache
        self._table = table
        self._inbox = inbox

    def store(self, packed: Packed) -> tuple[Kind, Any]:
        """Put a value into the cache unless it is small; return what is kept of it. Blocks."""
        if packed.rides_inline:
            return Kind.PICKLED, packed.data
        return Kind.STORED, self._cache.put(self._program.prefix(OBJECTS), pieces_of(packed))

    def delete(self, keys: Sequence[Key]) -> None:
        """Delete what `store` has put into the cache and nobody refers to, some time soon."""
        self._inbox.tell(lambda: self._table.gone.keys.extend(keys))

    def fetch(self, key: Key) -> Any:
        """Return the bytes of an object, read-only. Blocks."""
        return self._cache.get(key, 0)

    def load(self, object_id: ObjectId, kind: int, data: Any, what: str, where: str) -> Any:
        """Rebuild a value from what is kept of it. May block; runs code of the value.

        Raises DeserializationError, which says `what` could not be rebuilt `where`.
        """
        if kind == Kind.ATOM:
            return data
        try:
            if kind == Kind.PICKLED:
                return unpack(data)
            pickled, buffers = open_blob(self._cache.get(data, object_id))
            return unpack(pickled, buffers)
        except FlameError:
            raise
        except Exception as error:
            raise cannot_rebuild(what, where, error) from error

    def mailbox_of(self, object_id: ObjectId) -> Key:
        """Return where an object is put that was promised to others. Does not block."""
        return self._cache.key_at(self._program.prefix(MAIL), f"{object_id:x}")
