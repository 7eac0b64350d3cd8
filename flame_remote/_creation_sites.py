"""Which lines of the user's have made which refs; noted only where FLAME_CREATION_SITES=1 is set.

Looking up the stack costs about as much as the whole submission of a small call.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Container
from typing import Final

from flame_remote._ids import ObjectId

_PACKAGE: Final = os.path.dirname(os.path.abspath(__file__)) + os.sep
_SLACK: Final = 1000


def are_wanted() -> bool:
    """Say whether the environment asks for it."""
    return os.environ.get("FLAME_CREATION_SITES", "") not in ("", "0")


def line_of_the_user() -> str:
    """Return the innermost line outside this package that is being executed, as "file:line"."""
    frame = sys._getframe(1)
    while frame.f_back is not None and (
        frame.f_code.co_filename.startswith(_PACKAGE) or frame.f_code.co_filename == "<string>"
    ):
        frame = frame.f_back
    return f"{frame.f_code.co_filename}:{frame.f_lineno}"


class CreationSites:
    """The lines, by object. Any thread; a dict's methods are atomic."""

    def __init__(self, living: Callable[[], Container[ObjectId]], count: Callable[[], int]) -> None:
        """`living` are the objects that still are, `count` says how many."""
        self._living = living
        self._count = count
        self._sites: dict[ObjectId, str] = {}

    def note(self, object_id: ObjectId, site: str) -> None:
        """Keep a line; now and then, forget those of objects that are gone."""
        self._sites[object_id] = site
        if len(self._sites) > 2 * self._count() + _SLACK:
            living = self._living()
            for known in list(self._sites):
                if known not in living and known != object_id:
                    self._sites.pop(known, None)

    def get(self, object_id: ObjectId) -> str:
        """Return the line, "" if it is not known."""
        return self._sites.get(object_id, "")
