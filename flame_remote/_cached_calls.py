"""Calls of a function with `cache=`: what is known starts no task."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from flame_remote._cache import Cache
from flame_remote._cache_folder import CacheFolder
from flame_remote._cache_key import NotYet, Uncountable, group_of, key_of
from flame_remote._execute.remembering import KEY, Remembering
from flame_remote._options import TaskOptions
from flame_remote._refs import ObjectRef
from flame_remote._registry import service_of
from flame_remote._session import ensure_engine
from flame_remote.exceptions import InvalidOptionError
from flame_remote.runner.source import Source, by_name


class CachedCalls:
    """The calls of one function. Constant after construction; safe to use from any thread."""

    def __init__(self, source: Source, options: TaskOptions, cache: Cache) -> None:
        """Raises InvalidOptionError if the options cannot go together."""
        if options.num_returns != 1:
            raise InvalidOptionError(
                f"cache needs num_returns=1: {source.name} returns {options.num_returns} values"
            )
        self._function = source.value
        self._cache = cache
        self._group = group_of(source.value)
        self._folder = CacheFolder(cache.path(), cache.max_bytes)
        self._options = replace(options, cache=None)
        place = by_name(source.value)
        remembering = Remembering(source.value, source.name, cache, self._group, place)
        self._source = Source(remembering, source.name, source.signature)

    def submit(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> ObjectRef[Any]:
        """Return a ref to what the call returned before, or start it. Blocks on the disk.

        Raises what `.remote()` raises.
        """
        engine = ensure_engine()
        key = self._key_of(args, kwargs)
        known = self._folder.read(self._group, key) if key else None
        if known is not None:
            return engine.put(known)
        service = service_of(engine, self._source, self._options)
        ref: ObjectRef[Any] = service.submit(args, {**kwargs, KEY: key})
        return ref

    def clear(self) -> None:
        """Throw all kept results of the function away. Blocks on the disk."""
        self._folder.clear(self._group)

    def _key_of(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> str | None:
        try:
            return key_of(self._function, args, kwargs, self._cache.ignore, waits=False)
        except Uncountable:
            return ""
        except NotYet:
            return None
        except Exception:  # of a ref to a task that failed: the call will say so
            return None
