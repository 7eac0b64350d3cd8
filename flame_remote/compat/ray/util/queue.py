"""Ray's `ray.util.queue`."""

from __future__ import annotations

from queue import Empty, Full
from typing import Any

import flame_remote as flame

from .._options import ACTOR, translated

__all__ = ["Empty", "Full", "Queue"]


class Queue(flame.Queue[Any]):
    """A queue that tasks and actors share; as `flame.Queue`, with Ray's names."""

    def __init__(self, maxsize: int = 0, actor_options: dict[str, Any] | None = None) -> None:
        """Make a queue that holds at most `maxsize` items; 0 for any number."""
        super().__init__(maxsize, translated(actor_options or {}, ACTOR, "the class Queue", {}))

    def size(self) -> int:
        """Return how many items there are."""
        return self.qsize()

    def shutdown(self, force: bool = False, grace_period_s: int = 5) -> None:
        """End the queue; what is in it is lost."""
        super().shutdown()
