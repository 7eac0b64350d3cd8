"""What this process has fetched lately, so that an unchanged object is not sent again."""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass
from typing import Any, Final

from .object_key import ObjectKey

_OVERHEAD_BYTES: Final = 1024  # of an entry, about


@dataclass(frozen=True, slots=True)
class FetchedObject:
    """An object as it came: bytes that nobody changes. Values are made of them at each get.

    Attributes:
        version: of the object, its patches included.
        base: an Arrow buffer with the object's bytes, or an Arrow table.
        patches: Arrow buffers, in the order in which they were appended.
        size: of all of it, in bytes.
    """

    version: int
    base: Any
    patches: tuple[Any, ...]
    size: int

    def patched(self, version: int, patches: tuple[Any, ...]) -> FetchedObject:
        """Return this object with more patches."""
        more = sum(patch.size for patch in patches)
        return FetchedObject(version, self.base, self.patches + patches, self.size + more)


class RecentObjects:
    """The objects fetched last, up to a number of bytes. Safe to use from any thread."""

    def __init__(self, capacity_bytes: int) -> None:
        # Constant after construction.
        self._capacity_bytes = capacity_bytes
        # Guarded by self._lock.
        self._lock = threading.Lock()
        self._objects: OrderedDict[str, tuple[str, FetchedObject]] = OrderedDict()
        self._size = 0

    def get(self, endpoint: str, key: str) -> FetchedObject | None:
        """Return what is known of an object of that cache, or None."""
        with self._lock:
            where, found = self._objects.get(key, ("", None))
            if found is None or where != endpoint:
                return None
            self._objects.move_to_end(key)
            return found

    def remember(self, endpoint: str, key: str, fetched: FetchedObject) -> None:
        """Keep the object, and let go of what was used longest ago."""
        with self._lock:
            self._drop(key)
            if fetched.size + _OVERHEAD_BYTES > self._capacity_bytes:
                return
            self._objects[key] = endpoint, fetched
            self._size += fetched.size + _OVERHEAD_BYTES
            while self._size > self._capacity_bytes:
                self._drop(next(iter(self._objects)))

    def forget(self, pattern: ObjectKey) -> None:
        """Let go of the object, or of all objects under a prefix, of whatever cache."""
        with self._lock:
            if pattern.object_id is not None:
                self._drop(str(pattern))
                return
            for key in [key for key in self._objects if pattern.covers(key)]:
                self._drop(key)

    def after_fork_in_child(self) -> None:
        """Start empty, with a lock that no thread of the parent holds."""
        self.__init__(self._capacity_bytes)  # type: ignore[misc]

    def _drop(self, key: str) -> None:
        """Let go of one object, if it is there. The caller holds self._lock."""
        dropped = self._objects.pop(key, None)
        if dropped is not None:
            self._size -= dropped[1].size + _OVERHEAD_BYTES
