"""Cache: where results of a function are kept beyond the program, and how many."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

from flame_remote.exceptions import InvalidOptionError

_MAX_BYTES: Final = 10 << 30


@dataclass(frozen=True, slots=True)
class Cache:
    """Keeps the results of a function on disk: a call with known arguments starts no task.

    `folder` is shared by as many functions and processes as like to; "" is `flame_remote` in the
    user's cache folder (XDG_CACHE_HOME, else ~/.cache). When more than `max_bytes` lie in it, the
    results go that were asked for the longest time ago. Arguments named in `ignore` are no part of
    what tells one call from another.
    """

    folder: str = ""
    max_bytes: int = _MAX_BYTES
    ignore: tuple[str, ...] = ()

    def __init__(
        self,
        folder: str | os.PathLike[str] = "",
        max_bytes: int = _MAX_BYTES,
        ignore: Iterable[str] = (),
    ) -> None:
        """Say where to keep results.

        Args:
            folder: made when the first result is written; readable by its owner only.
            max_bytes: how many bytes of results may lie there, 1 or more.
            ignore: names of arguments that do not matter, e.g. `["verbose"]`.

        Raises:
            TypeError: one of them is of the wrong type.
            InvalidOptionError: `max_bytes` is out of range.
        """
        if isinstance(ignore, str) or not all(isinstance(name, str) for name in ignore):
            raise TypeError(f"ignore must be a list of names of arguments, not {ignore!r:.50}")
        if isinstance(max_bytes, bool) or not isinstance(max_bytes, int):
            raise TypeError(f"max_bytes must be a whole number, not {max_bytes!r:.50}")
        if max_bytes < 1:
            raise InvalidOptionError(f"max_bytes must be 1 or more, not {max_bytes!r}")
        object.__setattr__(self, "folder", os.fspath(folder))
        object.__setattr__(self, "max_bytes", max_bytes)
        object.__setattr__(self, "ignore", tuple(sorted(ignore)))

    def path(self) -> str:
        """Return the absolute path of the folder."""
        if self.folder:
            return os.path.abspath(os.path.expanduser(self.folder))
        base = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
        return os.path.join(base, "flame_remote")


def checked_cache(name: str, value: Any) -> Cache | None:
    """Check the option `cache`: True, a folder, a Cache, or nothing."""
    if isinstance(value, Cache):
        return value
    if value is None or value is False:
        return None
    if value is True:
        return Cache()
    if isinstance(value, (str, os.PathLike)):
        if not os.fspath(value):
            raise InvalidOptionError(f"{name} must not be an empty path; True is the default one")
        return Cache(value)
    raise TypeError(f"{name} must be True, a folder, or a flame.Cache, not {type(value).__name__}")
