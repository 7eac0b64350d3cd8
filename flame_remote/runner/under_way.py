"""The calls of a service that have not ended yet."""

from __future__ import annotations

from typing import Any, Final

from flame_remote._deadline import Deadline
from flame_remote._refs import ObjectRef

_LOOK_SECONDS: Final = 5.0  # that pass before it is asked whether the ends can still be heard of


class CallsUnderWay:
    """Calls that need their service until they end. Safe to use from any thread."""

    def __init__(self) -> None:
        self._refs: dict[int, ObjectRef[Any]] = {}  # added to and taken from one by one

    def add(self, ref: ObjectRef[Any]) -> None:
        """Count a call until it ends."""
        refs = self._refs
        refs[ref._id] = ref
        ref._engine.on_done(ref, lambda ended: refs.pop(ended._id, None))

    def wait(self, what: str) -> None:
        """Block until all have ended, well or badly; `what` waits for them, "... be closed".

        Raises:
            ClusterError: the cluster does not answer any more, so nobody knows what they do.
        """
        told = False
        while refs := list(self._refs.values()):
            engine = refs[0]._engine
            done = engine.wait(refs, len(refs), Deadline(_LOOK_SECONDS))
            if len(done) == len(refs):
                return
            engine.check_answers(f"{what} cannot be closed")
            if not told:
                told = True
                self._tell(what, len(refs) - len(done))

    def _tell(self, what: str, number: int) -> None:
        import logging

        logging.getLogger("flame_remote").warning(
            "%s is closed when the calls that it runs have ended: %d of them go on", what, number
        )

    def cancel(self) -> None:
        """Cancel all, as far as that can be done. Does not wait."""
        for ref in list(self._refs.values()):
            ref.cancel()
