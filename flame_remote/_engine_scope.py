"""What an engine does for a scope: knows what was started inside, however deeply."""

from __future__ import annotations

from abc import ABC, abstractmethod

from flame_remote._deadline import Deadline


class EngineScope(ABC):
    """The calls that are started between `enter` and `leave` in one thread or coroutine.

    What those start belongs to it too. `enter`, `leave` and `close` are called where the block is,
    the others from any thread.
    """

    @abstractmethod
    def enter(self) -> None:
        """From now on, calls made here belong to the scope."""

    @abstractmethod
    def leave(self) -> None:
        """Calls made here belong again to what they belonged to before."""

    @abstractmethod
    def wait(self, deadline: Deadline) -> bool:
        """Wait until all that has been started in it so far has ended; say whether nothing is left.

        Blocks until then or until the deadline. What ended may have started more meanwhile.
        """

    @abstractmethod
    def cancel(self, force: bool) -> int:
        """Cancel all that; and all that will yet be started by it, as it comes. Return how many."""

    @abstractmethod
    def is_cancelled(self) -> bool:
        """Say whether it was cancelled, by `cancel` or by the failure of one of its calls."""

    @abstractmethod
    def failure(self) -> bytes:
        """Return the first error of a call started directly in it, as it travels; b"" if none."""

    @abstractmethod
    def close(self) -> None:
        """Forget the scope. What has not ended belongs to what is around it."""
