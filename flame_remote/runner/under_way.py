"""The calls of a service that have not ended yet."""

from __future__ import annotations

from typing import Any

from flame_remote._deadline import NEVER
from flame_remote._refs import ObjectRef


class CallsUnderWay:
    """Calls that need their service until they end. Safe to use from any thread."""

    def __init__(self) -> None:
        self._refs: dict[int, ObjectRef[Any]] = {}  # added to and taken from one by one

    def add(self, ref: ObjectRef[Any]) -> None:
        """Count a call until it ends."""
        refs = self._refs
        refs[ref._id] = ref
        ref._engine.on_done(ref, lambda ended: refs.pop(ended._id, None))

    def wait(self) -> None:
        """Block until all have ended, well or badly."""
        refs = list(self._refs.values())
        if refs:
            refs[0]._engine.wait(refs, len(refs), NEVER)

    def cancel(self) -> None:
        """Cancel all, as far as that can be done. Does not wait."""
        for ref in list(self._refs.values()):
            ref.cancel()
