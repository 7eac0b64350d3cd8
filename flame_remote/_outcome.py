"""How a stored value, or the lack of one, is written down: one kind and one piece of data.

The same pair stands in a worker's result message, in the driver's object table and beside a task
that takes the value as an argument, so a value is encoded once and copied nowhere.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Any, NamedTuple


class Kind(IntEnum):
    """What `Outcome.data` holds."""

    PENDING = 0  # nothing yet; data is None
    ATOM = 1  # the value itself: a number, a short string or bytes, None
    PICKLED = 2  # bytes: pickle of the value, no buffers
    STORED = 3  # an Extent of shared memory or of the spill file
    FAILED = 4  # bytes: a pickled Failure (see _execute/failure.py)
    # Only in results, never of an object:
    SEVERAL = 5  # an outcome for each of the objects that a task makes
    AGAIN = 6  # an attempt that is not the last: seconds until the next, one line about the failure


class Outcome(NamedTuple):
    """A value or an error as it travels; `refs` are the ids of refs inside the value."""

    kind: Kind
    data: Any
    refs: tuple[int, ...] = ()
