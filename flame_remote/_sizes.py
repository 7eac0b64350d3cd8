"""Sizes as people write them: "512m", "2g"."""

from __future__ import annotations

import re
from typing import Final

_POWERS: Final = {"k": 1, "m": 2, "g": 3, "t": 4, "p": 5}  # of 1024, also for "kb" and "kib"
_SIZE: Final = re.compile(r"(\d+)\s*(?:([kmgtp])i?)?b?", re.IGNORECASE)


def size_in_bytes(text: str) -> int | None:
    """Return how many bytes a text such as "512m" means, None if it means none."""
    size = _SIZE.fullmatch(text)
    if size is None:
        return None
    unit: int = 1024 ** _POWERS[size[2].lower()] if size[2] else 1
    return int(size[1]) * unit
