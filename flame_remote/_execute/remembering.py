"""In the worker: a function whose results are kept on disk."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from flame_remote._cache import Cache
from flame_remote._cache_folder import CacheFolder
from flame_remote._cache_key import Uncountable, key_of
from flame_remote._wire.packing import pack, unpack
from flame_remote.exceptions import FlameError

from .call import is_coroutine

KEY: Final = "_flame_cache_key"  # by keyword, so that the user's arguments keep their places


class Remembering:
    """Calls a function and writes what it returns to the cache. Constant after construction.

    `place` stands for the function in a pickle, where it travels by name.
    """

    def __init__(
        self,
        function: Callable[..., Any],
        name: str,
        cache: Cache,
        group: str,
        place: object = None,
    ) -> None:
        self.__name__ = name
        self._function = function
        self._cache = cache
        self._group = group
        self._place = place

    def __call__(self, /, *args: Any, **kwargs: Any) -> Any:
        """Call the function; or return what it returned before, if nobody has looked for that.

        The keyword KEY is the key of the call; "" if it has none, None if it could not be told
        before the arguments were there.
        """
        key: str | None = kwargs.pop(KEY)
        folder = CacheFolder(self._cache.path(), self._cache.max_bytes)
        if key is None:
            key = self._key_of(args, kwargs)
            packed = folder.read(self._group, key) if key else None
            if packed is not None:
                return unpack(packed.data, [bytearray(buffer.raw()) for buffer in packed.buffers])
        value = self._function(*args, **kwargs)
        if is_coroutine(value):
            return self._await(folder, key, value)
        self._keep(folder, key, value)
        return value

    async def _await(self, folder: CacheFolder, key: str, coroutine: Any) -> Any:
        value = await coroutine
        self._keep(folder, key, value)
        return value

    def _key_of(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> str:
        try:
            return key_of(self._function, args, kwargs, self._cache.ignore, waits=True)
        except Uncountable:
            return ""

    def _keep(self, folder: CacheFolder, key: str, value: Any) -> None:
        if not key:
            return
        try:
            packed = pack(value, lambda: f"the value returned by {self.__name__}()")
            if not packed.refs:  # they mean nothing in another session
                folder.write(self._group, key, packed)
        except FlameError as error:  # the result is there all the same
            import logging

            logging.getLogger("flame_remote").warning(
                "a result of %s() is not kept: %s", self.__name__, error
            )

    def __reduce__(self) -> tuple[Any, ...]:
        function = self._function if self._place is None else self._place
        return Remembering, (function, self.__name__, self._cache, self._group)
