"""The future of a call that an executor was given."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures.process import BrokenProcessPool
from typing import Any, TypeVar

from flame_remote._future import RefFuture
from flame_remote._refs import ObjectRef
from flame_remote._session import ensure_engine
from flame_remote.engine import Engine
from flame_remote.exceptions import WorkerCrashedError

T = TypeVar("T")


class BrokenCallError(WorkerCrashedError, BrokenProcessPool):
    """The process that ran a call died. For those who expect the error of a ProcessPoolExecutor."""


class CallFuture(RefFuture[T]):
    """The future of one call. Written by its executor."""

    refs_of_others: Callable[[], Sequence[ObjectRef[Any]]]  # of the calls that it may wait for
    # While it waits for another call to end.
    call: tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any]] | None = None
    ref: ObjectRef[Any] | None = None  # from when the engine has it until it has ended

    def awaited_refs(self) -> Sequence[ObjectRef[Any]]:
        """Return that of the call; while it waits for others to end, those of the others."""
        ref = self.ref
        return (ref,) if ref is not None else self.refs_of_others()

    def engine(self) -> Engine:
        """Return that of this process."""
        return ensure_engine()

    def running(self) -> bool:
        """Say whether the call is being executed."""
        ref = self.ref
        return ref is not None and not self.done() and ref._engine.has_started(ref)

    def cancel(self) -> bool:
        """Cancel the call unless it has begun; say whether it is cancelled."""
        ref = self.ref
        if self.done() or ref is None:
            return super().cancel()
        if ref._engine.has_started(ref):
            return False
        if not super().cancel():
            return False
        ref.cancel()
        return True
