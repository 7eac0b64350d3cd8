"""Numbers that name tasks, objects, actors and workers within one session.

A task and the object that it will produce share one number; an actor is named by the task that
constructs it. The upper bits say which process made the number, so that every process counts on
its own: origin 0 is the driver, any other origin is the worker of that number.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Final

ORIGIN_SHIFT: Final = 40  # a process may make 2**40 ids, a session may see 2**23 workers
DRIVER: Final = 0

TaskId = int
ObjectId = int
ActorId = int
WorkerId = int


def id_source(origin: int) -> Iterator[int]:
    """Yield this process's ids in ascending order; `next()` on it is safe from any thread."""
    return itertools.count((origin << ORIGIN_SHIFT) + 1)


def origin_of(identifier: int) -> int:
    """Return which process made the id: 0 for the driver, else the worker's number."""
    return identifier >> ORIGIN_SHIFT


def show(identifier: int) -> str:
    """Format an id for people: `#12` made by the driver, `#3.12` made by worker 3."""
    origin, number = identifier >> ORIGIN_SHIFT, identifier & ((1 << ORIGIN_SHIFT) - 1)
    return f"#{origin}.{number}" if origin else f"#{number}"
