"""What a cluster says of a process that died."""

from __future__ import annotations

import re
from typing import Final

from .guard import REASON

# A stock Flame says no more than how its own call failed, and leaves the session with that process.
_STAYS: Final = re.compile(
    f"transport error|connection refused|broken pipe|{REASON}", re.IGNORECASE
)
_NEVER_BEGAN: Final = re.compile(f"connection refused|{REASON}", re.IGNORECASE)


class ProcessLost(Exception):
    """The process that ran a Flame task, or was to, is dead; the text says how."""

    def __init__(self, reason: str) -> None:
        """`reason` is what the cluster says."""
        super().__init__(reason)
        self.reason = reason

    @property
    def stays(self) -> bool:
        """Whether the cluster will give it further tasks of its session, which fail at once."""
        return _STAYS.search(self.reason) is not None

    @property
    def never_began(self) -> bool:
        """Whether it was dead when it was given the task."""
        return _NEVER_BEGAN.search(self.reason) is not None

    def __str__(self) -> str:
        return f"was lost: {self.reason}" if self.reason else "was lost"
