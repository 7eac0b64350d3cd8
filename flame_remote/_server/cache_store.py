"""CacheStore: which objects the cache has, in memory and on disk."""

from __future__ import annotations

import threading
import uuid
from collections import OrderedDict
from dataclasses import dataclass
from typing import Final

import pyarrow as pa

from flame_remote.core.object_key import ObjectKey

from .cache_content import Content
from .cache_disk import CacheDisk
from .cache_tree import KeyTree
from .cached_object import MOST_PATCHES, CachedObject

_WRITERS: Final = 64


class CacheFullError(Exception):
    """There is no room for an object, and nothing may be evicted."""


@dataclass(frozen=True, slots=True)
class CacheLimits:
    """How much stays in memory; None for no limit. `evicts` is whether old objects make room.

    What is evicted is read from disk when it is wanted again, or lost where there is no disk.
    """

    memory_bytes: int | None = None
    objects: int | None = None
    evicts: bool = True


@dataclass(slots=True)
class _Entry:
    """An object that exists. `content` is None while it is on disk only."""

    size: int
    content: CachedObject | None


class CacheStore:
    """The objects of a cache, by key. Safe to use from any thread.

    Blocks on the disk, if there is one; then an OSError may be raised by each method. KeyError
    means that there is no such object.
    """

    def __init__(self, limits: CacheLimits, disk: CacheDisk | None) -> None:
        """Start with what the disk has."""
        # Constant after construction.
        self._limits = limits
        self._disk = disk
        # One of these is held by whoever changes an object, so that its versions are in order. It
        # is taken before self._lock.
        self._writers = [threading.Lock() for _ in range(_WRITERS)]
        # Guarded by self._lock.
        self._lock = threading.Lock()
        self._entries: KeyTree[_Entry] = KeyTree()
        self._recent: OrderedDict[ObjectKey, _Entry] = OrderedDict()  # in memory, oldest use first
        self._memory_bytes = 0
        if disk is not None:
            for key in disk.all_keys():
                self._entries.set(key, _Entry(disk.size_of(key) or 0, None))

    # --- changing ---

    def put_new(self, prefix: ObjectKey, content: Content) -> ObjectKey:
        """Store a new object under a prefix; its version is 1. Raises CacheFullError."""
        key = ObjectKey(prefix.application, prefix.session, str(uuid.uuid4()))
        self._store(key, content.make(1))
        return key

    def replace(self, key: ObjectKey, content: Content) -> int:
        """Store the object with this key, new or instead of the old one; return its version.

        Raises CacheFullError.
        """
        with self._writer(key):
            try:
                version = self._current(key).version + 1
            except KeyError:
                version = 1
            self._store(key, content.make(version))
        return version

    def append(self, key: ObjectKey, patch: pa.Buffer) -> int:
        """Append a patch to an object; return the version that it has now.

        Raises KeyError, ValueError (it is a table, or has as many patches as may be) and
        CacheFullError.
        """
        with self._writer(key):
            current = self._current(key)
            if current.is_table:
                raise ValueError("it is an Arrow table, which takes no patches; update it")
            if len(current.patches) >= MOST_PATCHES:
                raise ValueError(
                    f"it has {MOST_PATCHES} patches, which is the most; update it with the whole"
                )
            patched = current.patched(patch)
            self._check_room(patched, patched.size - current.size)
            self._publish(key, patched, patched.patches[-1:], must_exist=True)
        return patched.version

    def delete(self, pattern: ObjectKey) -> None:
        """Forget all objects that the pattern covers, if there are any."""
        detached = []
        with self._lock:
            for key, entry in list(self._entries.covered(pattern)):
                self._let_go(key, entry)
                self._entries.remove(key)
            if self._disk is not None:
                detached = self._disk.detach(pattern)
        if self._disk is not None:
            self._disk.destroy(detached)

    # --- reading ---

    def read(self, key: ObjectKey) -> CachedObject:
        """Return the object as it is now. Raises KeyError."""
        with self._lock:
            content = self._in_memory(key)
        if content is not None:
            return content
        # Whoever changes it must not do so while it is read, else memory would hold an old one.
        with self._writer(key):
            return self._current(key)

    def count(self, pattern: ObjectKey | None) -> tuple[int, int]:
        """Return how many objects there are and their bytes; None counts everything."""
        with self._lock:
            sizes = [entry.size for _, entry in self._entries.covered(pattern)]
        return len(sizes), sum(sizes)

    def listing(self) -> list[tuple[ObjectKey, int]]:
        """Return the keys of all objects, with their bytes."""
        with self._lock:
            return [(key, entry.size) for key, entry in self._entries.covered()]

    @property
    def memory_bytes(self) -> int:
        """What the objects in memory take."""
        return self._memory_bytes

    # --- storing ---

    def _writer(self, key: ObjectKey) -> threading.Lock:
        return self._writers[hash(key) % _WRITERS]

    def _store(self, key: ObjectKey, made: CachedObject) -> None:
        self._check_room(made, made.size)
        self._publish(key, made, made.base, must_exist=False)

    def _publish(
        self,
        key: ObjectKey,
        made: CachedObject,
        batches: tuple[pa.RecordBatch, ...],
        *,
        must_exist: bool,
    ) -> None:
        """Have this be the object from now on; `batches` are what is not on disk yet.

        Raises KeyError if it must exist and has been deleted.
        """
        staged = self._disk.stage(made.schema, batches) if self._disk else None
        try:
            with self._lock:
                entry = self._entries.get(key)
                if entry is None and must_exist:
                    raise KeyError(str(key))
                if self._disk is not None and staged is not None:
                    self._disk.publish(key, made, staged)
                self._keep(key, entry, made)
        except BaseException:
            if self._disk is not None and staged is not None:
                self._disk.destroy([staged])
            raise

    def _current(self, key: ObjectKey) -> CachedObject:
        """Return the object, read from disk if need be. The caller holds the writer's lock.

        Raises KeyError.
        """
        with self._lock:
            content = self._in_memory(key)
        if content is not None:
            return content
        # It was evicted, or a client has written the file and told nobody.
        loaded = self._disk.load(key) if self._disk is not None else None
        if loaded is None:
            raise KeyError(str(key))
        with self._lock:
            entry = self._entries.get(key)
            if entry is None and (self._disk is None or self._disk.size_of(key) is None):
                raise KeyError(str(key))  # deleted meanwhile
            self._keep(key, entry, loaded)
        return loaded

    # --- memory; the caller holds self._lock ---

    def _in_memory(self, key: ObjectKey) -> CachedObject | None:
        """Return the object if it is held, as the one that was used last."""
        entry = self._entries.get(key)
        if entry is None or entry.content is None:
            return None
        self._recent.move_to_end(key)
        return entry.content

    def _keep(self, key: ObjectKey, entry: _Entry | None, content: CachedObject) -> None:
        """Hold this content of the object, which may be new, and make room for it."""
        if entry is None:
            entry = _Entry(0, None)
            self._entries.set(key, entry)
        self._let_go(key, entry)
        entry.size, entry.content = content.size, content
        self._recent[key] = entry
        self._memory_bytes += content.size
        while self._limits.evicts and self._is_over() and self._recent:
            oldest, old_entry = next(iter(self._recent.items()))
            self._let_go(oldest, old_entry)
            if self._disk is None:
                self._entries.remove(oldest)

    def _let_go(self, key: ObjectKey, entry: _Entry) -> None:
        """Hold the content no longer, if it is held."""
        if entry.content is not None:
            self._memory_bytes -= entry.content.size
            entry.content = None
            del self._recent[key]

    def _is_over(self) -> bool:
        limits = self._limits
        if limits.memory_bytes is not None and self._memory_bytes > limits.memory_bytes:
            return True
        return limits.objects is not None and len(self._recent) > limits.objects

    def _check_room(self, made: CachedObject, more_bytes: int) -> None:
        """Raise CacheFullError if there is no room and can be none. Takes no lock."""
        limits = self._limits
        most = limits.memory_bytes
        if most is not None and self._disk is None and made.size > most:
            raise CacheFullError(
                f"the object has {made.size} bytes, this cache holds {most} at most"
            )
        if limits.evicts:
            return
        if most is not None and self._memory_bytes + more_bytes > most:
            raise CacheFullError(
                f"the cache is full: {self._memory_bytes} of {most} bytes are in use"
            )
        if limits.objects is not None and len(self._recent) >= limits.objects:
            raise CacheFullError(f"the cache is full: it has {limits.objects} objects")
