"""How single values are shown: times, durations, memory, resources, text of others.

The forms are those of Flame's `flmctl`, so that scripts which read its output can read this.
"""

from __future__ import annotations

import unicodedata
from datetime import datetime, timezone
from typing import Final

NOTHING: Final = "-"

_MEMORY_UNITS: Final = (("Gi", 1 << 30), ("Mi", 1 << 20), ("Ki", 1 << 10))
_DURATION_UNITS: Final = (("d", 86_400), ("h", 3_600), ("m", 60), ("s", 1))


def memory(size_bytes: int) -> str:
    """Show bytes in the largest unit that fits, rounded down: 1536 MiB is "1Gi"."""
    for unit, size in _MEMORY_UNITS:
        if size_bytes >= size:
            return f"{size_bytes // size}{unit}"
    return f"{size_bytes}B"


def resources(cpu: int, memory_bytes: int, gpu: int) -> str:
    """Show what an instance takes: "cpu=1,mem=1Gi,gpu=0"."""
    return f"cpu={cpu},mem={memory(memory_bytes)},gpu={gpu}"


def duration(seconds: int) -> str:
    """Show whole seconds: 90 is "1m 30s"."""
    if seconds < 0:
        return "-" + duration(-seconds)
    parts = []
    for unit, size in _DURATION_UNITS:
        count, seconds = divmod(seconds, size)
        if count:
            parts.append(f"{count}{unit}")
    return " ".join(parts) or "0s"


def clock(milliseconds: int) -> str:
    """Show a moment, given in milliseconds since the epoch, as a time of day in UTC."""
    return _moment(milliseconds).strftime("%H:%M:%S")


def exact_clock(milliseconds: int) -> str:
    """Show a moment as a time of day in UTC with milliseconds."""
    return f"{clock(milliseconds)}.{milliseconds % 1000:03}"


def timestamp(milliseconds: int) -> str:
    """Show a moment for machines: "2026-11-23T22:05:43.250Z"."""
    return f"{_moment(milliseconds):%Y-%m-%dT%H:%M:%S}.{milliseconds % 1000:03}Z"


def _moment(milliseconds: int) -> datetime:
    return datetime.fromtimestamp(milliseconds // 1000, timezone.utc)


def printable(text: str) -> str:
    """Escape what would move a terminal's cursor or end a line; others choose names and events."""
    return "".join(
        repr(character)[1:-1]
        if unicodedata.category(character) in ("Cc", "Cf", "Zl", "Zp")
        else character
        for character in text
    )


def width(text: str) -> int:
    """Return how many columns of a terminal a printable text takes."""
    if text.isascii():
        return len(text)
    return sum(
        0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1
        for c in text
    )


def padded(text: str, columns: int) -> str:
    """Fill a printable text with blanks on the right."""
    return text + " " * (columns - width(text))
