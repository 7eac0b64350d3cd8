"""Whether and how text is coloured: on a terminal only, and never where NO_COLOR is set."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Final, Protocol

_CODES: Final = {"green": 32, "yellow": 33, "red": 31}


class Stream(Protocol):
    """What text is written to."""

    def isatty(self) -> bool:
        """Say whether it is a terminal."""
        ...


def is_wanted(stream: Stream, environment: Mapping[str, str] = os.environ) -> bool:
    """Say whether what is written to the stream may be coloured.

    NO_COLOR (anything but empty) says no, then FORCE_COLOR yes; else a terminal that is not dumb.
    """
    if environment.get("NO_COLOR"):
        return False
    if environment.get("FORCE_COLOR"):
        return True
    return environment.get("TERM") != "dumb" and stream.isatty()


def coloured(text: str, colour: str, wanted: bool) -> str:
    """Return the text in "green", "yellow" or "red", if that is wanted."""
    return f"\x1b[{_CODES[colour]}m{text}\x1b[0m" if wanted else text
