"""`flame.scope`: what is started inside has ended when the block has."""

from __future__ import annotations

import threading
import time
from types import TracebackType
from typing import Final, Literal

from flame_remote._deadline import Deadline
from flame_remote._engine_scope import EngineScope
from flame_remote._session import ensure_engine
from flame_remote.exceptions import DeadlineExceededError, TaskCancelledError

# How long calls that were cancelled may take to end before their processes are ended.
_GRACE_SECONDS: Final = 2.0
# How often a wait looks whether what it waits for has been cancelled by a failure meanwhile.
_LOOK_SECONDS: Final = 0.5

OnError = Literal["cancel", "wait"]


class Scope:
    """A block after which none of the calls started in it is left; made by `scope`. Once only."""

    def __init__(self, deadline: float | None, on_error: OnError) -> None:
        self._seconds = deadline
        self._on_error = on_error
        self._inner: EngineScope | None = None
        self._timer: threading.Timer | None = None
        # Written by the timer's thread.
        self._late: int | None = None  # calls that the deadline has cancelled

    def cancel(self) -> int:
        """Cancel what was started in the scope, and what that starts; return how many calls.

        Also what the block still starts is cancelled, as it comes. Any thread.
        """
        return 0 if self._inner is None else self._inner.cancel(False)

    def __enter__(self) -> Scope:
        if self._inner is not None:
            raise RuntimeError("a scope is entered once: call flame.scope() for each block")
        seconds = self._seconds
        moment = None if seconds is None else time.monotonic() + seconds
        self._inner = ensure_engine().open_scope(moment, stops=self._on_error == "cancel")
        if seconds is not None:
            self._timer = threading.Timer(seconds, self._end)
            self._timer.name = "flame-scope"
            self._timer.daemon = True
            self._timer.start()
        self._inner.enter()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        inner = self._inner
        assert inner is not None
        inner.leave()
        try:
            if error is not None and self._on_error == "cancel":
                inner.cancel(False)
            try:
                self._join(inner)
            except BaseException:  # Ctrl-C, or this task was cancelled: nothing may go on
                inner.cancel(False)
                raise
            failure = inner.failure()
        finally:
            if self._timer is not None:
                self._timer.cancel()
                self._timer.join()
            inner.close()
        was_ended = error is None or isinstance(error, TaskCancelledError)
        if self._late and was_ended:
            raise DeadlineExceededError(self._seconds or 0.0, self._late) from error
        if failure and was_ended:
            from flame_remote._execute.failure import rebuild_error

            raise rebuild_error(failure) from None

    def _end(self) -> None:
        """The deadline has passed. In the timer's thread."""
        if self._inner is not None:
            self._late = self._inner.cancel(False)

    def _join(self, inner: EngineScope) -> None:
        """Wait until nothing is left; end the processes of what was cancelled and does not end."""
        patience: Deadline | None = None
        while not inner.wait(Deadline(_LOOK_SECONDS)):
            if patience is None and inner.is_cancelled():
                patience = Deadline(_GRACE_SECONDS)
            elif patience is not None and patience.expired():
                inner.cancel(True)
                patience = Deadline(_GRACE_SECONDS)


def scope(*, deadline: float | None = None, on_error: OnError = "cancel") -> Scope:
    """Return a block for `with`: all calls started in it have ended when it has.

    That is so for the calls of this thread or coroutine, and for those that they start.

    Args:
        deadline: seconds after which what has not ended is cancelled; None for no limit.
        on_error: "cancel": the first failure, of the block or of a call started directly in it,
            cancels everything else, and the block ends with that error. "wait": nothing is
            cancelled; the errors of calls are raised where their results are asked for.

    Returns:
        The scope, whose `cancel()` cancels everything in it.

    Raises:
        DeadlineExceededError: from the end of the block: the deadline has cancelled something.
        ValueError: `on_error` is neither, or the deadline is negative.
        TypeError: the deadline is no number.
        EngineError: the engine is on a cluster, where nobody knows who started what.
    """
    if on_error not in ("cancel", "wait"):
        raise ValueError(f"on_error must be 'cancel' or 'wait', not {on_error!r}")
    Deadline(deadline)  # checks it
    return Scope(deadline, on_error)
