"""Futures, as the standard library knows them, of what refs stand for."""

from __future__ import annotations

import concurrent.futures
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from flame_remote._deadline import Deadline
from flame_remote._refs import ObjectRef

if TYPE_CHECKING:
    from flame_remote.engine import Engine

T = TypeVar("T")


class RefFuture(concurrent.futures.Future[T]):
    """A future that done callbacks of refs settle; a task that waits for it lends its slot."""

    def awaited_refs(self) -> Sequence[ObjectRef[Any]]:
        """Return the refs that have to be there before this can be, as far as there are any yet."""
        raise NotImplementedError

    def engine(self) -> Engine:
        """Return the engine of those refs."""
        raise NotImplementedError

    def result(self, timeout: float | None = None) -> T:
        """As that of any future."""
        return super().result(self.lend(timeout))

    def exception(self, timeout: float | None = None) -> BaseException | None:
        """As that of any future."""
        return super().exception(self.lend(timeout))

    def lend(self, timeout: float | None) -> float | None:
        """Wait for this if that lends the slot of a task; return how many seconds are left."""
        if self.done():
            return timeout
        deadline = Deadline(timeout)
        self.engine().lend_until(self.done, self.awaited_refs, deadline)
        return deadline.remaining()


class _ValueFuture(RefFuture[T]):
    def __init__(self, ref: ObjectRef[T]) -> None:
        super().__init__()
        self._ref = ref

    def awaited_refs(self) -> Sequence[ObjectRef[Any]]:
        return (self._ref,)

    def engine(self) -> Engine:
        return self._ref._engine


def future_of(ref: ObjectRef[T]) -> concurrent.futures.Future[T]:
    """Return a future of the ref's value, or error. Does not block."""
    future = _ValueFuture(ref)
    future.set_running_or_notify_cancel()

    def settle(ref: ObjectRef[T]) -> None:
        try:
            value = ref.get()
        except BaseException as error:
            future.set_exception(error)
        else:
            future.set_result(value)

    ref.add_done_callback(settle)
    return future
