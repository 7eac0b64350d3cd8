"""Flame's times: milliseconds since the Unix epoch on the wire, datetimes in UTC here."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Final

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=timezone.utc)


def from_milliseconds(milliseconds: int) -> datetime:
    """Return the moment, in UTC."""
    return _EPOCH + timedelta(milliseconds=milliseconds)
