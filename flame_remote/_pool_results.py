"""What the calls of a Pool return: results that will be there, and iterators of results."""

from __future__ import annotations

import concurrent.futures
import itertools
import threading
from collections.abc import Callable, Iterable, Iterator
from multiprocessing import TimeoutError as PoolTimeoutError
from typing import Any, Generic, TypeVar

from flame_remote._deadline import Deadline
from flame_remote._future import RefFuture
from flame_remote._refs import ObjectRef

T = TypeVar("T")

Callback = Callable[[Any], object]
Call = concurrent.futures.Future[list[Any]]


class AsyncResult(Generic[T]):
    """What a call of a pool will return. Safe to use from any thread."""

    def __init__(
        self,
        calls: list[Call],
        finish: Callable[[list[list[Any]]], T],
        callback: Callback | None,
        error_callback: Callback | None,
    ) -> None:
        """Stand for `finish` of the results of all `calls`."""
        self._calls = calls
        self._finish = finish
        self._callback = callback
        self._error_callback = error_callback
        self._ready = threading.Event()
        self._lock = threading.Lock()
        self._left = len(calls)  # guarded by self._lock
        self._error: BaseException | None = None  # constant once ready, as is the value
        self._value: T
        for call in calls:
            call.add_done_callback(self._note)
        if not calls:
            self._settle()

    def ready(self) -> bool:
        """Say whether the call has ended. Does not block."""
        return self._ready.is_set()

    def successful(self) -> bool:
        """Say whether the call ended without an error.

        Raises:
            ValueError: it has not ended.
        """
        if not self.ready():
            raise ValueError(f"{self!r} not ready")
        return self._error is None

    def wait(self, timeout: float | None = None) -> None:
        """Block until the call has ended, or for `timeout` seconds."""
        self._wait(timeout)

    def get(self, timeout: float | None = None) -> T:
        """Wait for the result and return it; raise the call's own error.

        Args:
            timeout: seconds to wait at most; None waits as long as it takes.

        Raises:
            PoolTimeoutError: the time is over; the call goes on. It is multiprocessing's own.
        """
        if not self._wait(timeout):
            raise PoolTimeoutError(f"the call has not ended after {timeout} s")
        if self._error is not None:
            raise self._error
        return self._value

    def _wait(self, timeout: float | None) -> bool:
        for call in self._calls:
            if isinstance(call, RefFuture):
                timeout = call.lend(timeout)
        return self._ready.wait(timeout)

    def _note(self, call: Call) -> None:
        with self._lock:
            self._left -= 1
            if self._left:
                return
        self._settle()

    def _settle(self) -> None:
        try:
            self._value = self._finish([call.result() for call in self._calls])
        except BaseException as error:  # CancelledError too, of a pool that was terminated
            self._error = error
        self._calls = []
        callback = self._callback if self._error is None else self._error_callback
        try:
            if callback is not None:
                callback(self._value if self._error is None else self._error)
        finally:
            self._ready.set()


class PoolResults(Generic[T]):
    """The results of `imap` and `imap_unordered`, as they come. Use from one thread at a time."""

    def __init__(self, feed: Feed, ordered: bool) -> None:
        self._feed = feed
        self._ordered = ordered
        self._values: Iterator[T] = iter(())  # of the chunk that is handed out

    def __iter__(self) -> PoolResults[T]:
        return self

    def __next__(self) -> T:
        return self.next()

    def next(self, timeout: float | None = None) -> T:
        """Return the next result; raise the error of its call, after which there may be more.

        Args:
            timeout: seconds to wait at most; None waits as long as it takes.

        Raises:
            PoolTimeoutError: the time is over.
            StopIteration: there are no more.
        """
        while True:
            for value in self._values:
                return value
            call = self._feed.take(self._ordered, timeout)
            if call is None:
                raise StopIteration
            self._values = iter(call.result())


class Feed:
    """Submits the chunks of an iterable from a thread of its own, never many at a time."""

    def __init__(self, submit: Callable[[list[Any]], Any], items: Iterable[Any], size: int) -> None:
        self._submit = submit
        self._items = iter(items)
        self._size = size
        self._changed = threading.Condition()
        # Guarded by self._changed.
        self._calls: dict[Call, None] = {}  # not taken yet, in order
        self._ended: dict[Call, None] = {}  # those of them that have ended, as they did
        self._under_way = 0
        self._is_over = False  # no more come
        self._is_stopped = False

    def run(self, most: int) -> None:
        """Submit all of it, `most` chunks at a time. Blocks; a thread's job."""
        try:
            while chunk := list(itertools.islice(self._items, self._size)):
                with self._changed:
                    self._changed.wait_for(lambda: self._under_way < most or self._is_stopped)
                    if self._is_stopped:
                        break
                    self._under_way += 1
                self._add(self._submit(chunk))
        except BaseException as error:  # of the user's iterable: raised where its item would be
            failed: Call = concurrent.futures.Future()
            failed.set_exception(error)
            with self._changed:
                self._under_way += 1
            self._add(failed)
        with self._changed:
            self._is_over = True
            self._changed.notify_all()

    def stop(self) -> None:
        """Submit no more."""
        with self._changed:
            self._is_stopped = True
            self._changed.notify_all()

    def take(self, ordered: bool, timeout: float | None) -> Call | None:
        """Wait for the next chunk that has ended; None if no more come."""

        def can_tell() -> bool:
            with self._changed:
                if not self._calls:
                    return self._is_over
                return next(iter(self._calls)) in self._ended if ordered else bool(self._ended)

        deadline = Deadline(timeout)
        with self._changed:
            self._changed.wait_for(lambda: self._calls or self._is_over, timeout)
            calls = list(self._calls)
        if calls and isinstance(calls[0], RefFuture):
            calls[0].engine().lend_until(can_tell, self._awaited, deadline)
        with self._changed:
            if not self._changed.wait_for(can_tell, deadline.remaining()):
                raise PoolTimeoutError(f"the next result is not there after {timeout} s")
            if not self._calls:
                return None
            call = next(iter(self._calls if ordered else self._ended))
            del self._calls[call], self._ended[call]
            return call

    def _awaited(self) -> list[ObjectRef[Any]]:
        with self._changed:
            calls = [call for call in self._calls if call not in self._ended]
        return [ref for call in calls if isinstance(call, RefFuture) for ref in call.awaited_refs()]

    def _add(self, call: Call) -> None:
        with self._changed:
            self._calls[call] = None
            self._changed.notify_all()
        call.add_done_callback(self._note)

    def _note(self, call: Call) -> None:
        with self._changed:
            self._under_way -= 1
            self._ended[call] = None
            self._changed.notify_all()
