"""A moment by which something must have happened, or never."""

from __future__ import annotations

import time
from typing import Final


class Deadline:
    """A moment on the monotonic clock. Immutable; safe to share between threads."""

    __slots__ = ("_moment", "seconds")

    def __init__(self, seconds: float | None, name: str = "timeout") -> None:
        """Start counting now. `seconds` is a float of seconds from now, or None for never; `name`
        is what the user calls it.

        Raises TypeError for something that is no number and ValueError for a negative one.
        """
        if seconds is not None:
            if isinstance(seconds, bool) or not isinstance(seconds, (int, float)):
                raise TypeError(
                    f"{name} must be a number of seconds or None, not {type(seconds).__name__}"
                )
            if not seconds >= 0:
                raise ValueError(f"{name} must be 0 or more seconds, not {seconds!r}")
        self.seconds = seconds
        self._moment = None if seconds is None else time.monotonic() + seconds

    def remaining(self) -> float | None:
        """Return the seconds left, 0.0 when it has passed, None when there is no limit."""
        if self._moment is None:
            return None
        return max(0.0, self._moment - time.monotonic())

    def expired(self) -> bool:
        """Say whether the moment has passed."""
        return self._moment is not None and time.monotonic() >= self._moment


NEVER: Final = Deadline(None)
