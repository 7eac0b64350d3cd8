"""`multiprocessing.Pool` on flame: `from flame_remote.multiprocessing import Pool`.

A pool takes the engine's workers, which stay warm from one pool to the next; functions of
`__main__`, lambdas and closures travel, and no `if __name__ == "__main__"` is needed.
"""

from __future__ import annotations

import concurrent.futures
import itertools
import threading
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from multiprocessing import TimeoutError as PoolTimeoutError
from types import TracebackType
from typing import Any, Final, Generic, TypeVar

from flame_remote._executor import Executor
from flame_remote._session import ensure_engine

T = TypeVar("T")

__all__ = ["AsyncResult", "Pool", "PoolTimeoutError"]

_CHUNKS_EACH: Final = 4  # for each process, where the pool chooses the chunk size
_AHEAD_EACH: Final = 4  # chunks of `imap` under way or waiting, for each process

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
        self._ready.wait(timeout)

    def get(self, timeout: float | None = None) -> T:
        """Wait for the result and return it; raise the call's own error.

        Args:
            timeout: seconds to wait at most; None waits as long as it takes.

        Raises:
            PoolTimeoutError: the time is over; the call goes on. It is multiprocessing's own.
        """
        if not self._ready.wait(timeout):
            raise PoolTimeoutError(f"the call has not ended after {timeout} s")
        if self._error is not None:
            raise self._error
        return self._value

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

    def __init__(self, feed: _Feed, ordered: bool) -> None:
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


class _Feed:
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
            if not self._calls:
                return self._is_over
            return next(iter(self._calls)) in self._ended if ordered else bool(self._ended)

        with self._changed:
            if not self._changed.wait_for(can_tell, timeout):
                raise PoolTimeoutError(f"the next result is not there after {timeout} s")
            if not self._calls:
                return None
            call = next(iter(self._calls if ordered else self._ended))
            del self._calls[call], self._ended[call]
            return call

    def _add(self, call: Call) -> None:
        with self._changed:
            self._calls[call] = None
        call.add_done_callback(self._note)

    def _note(self, call: Call) -> None:
        with self._changed:
            self._under_way -= 1
            self._ended[call] = None
            self._changed.notify_all()


class Pool:
    """As multiprocessing.Pool. Safe to use from any thread.

    Errors of calls are those of flame: an instance of the exception's own type with the worker's
    frames in its traceback. A worker that dies fails its own calls only. What `terminate` has
    cancelled raises CancelledError, where multiprocessing would wait for ever.
    """

    def __init__(
        self,
        processes: int | None = None,
        initializer: Callable[..., object] | None = None,
        initargs: tuple[Any, ...] = (),
        maxtasksperchild: int | None = None,
        context: object = None,
    ) -> None:
        """Start nothing yet: the first call does.

        Args:
            processes: how many calls run at the same time; default: one for each CPU.
            initializer: called once in each worker before its first call.
            initargs: the arguments of `initializer`.
            maxtasksperchild: must be None: the workers belong to the engine.
            context: ignored; a start method means nothing here.

        Raises:
            ValueError: `processes` is less than 1, or `maxtasksperchild` is given.
            TypeError: `initializer` cannot be called.
        """
        if processes is not None and processes < 1:
            raise ValueError("Number of processes must be at least 1")
        if maxtasksperchild is not None:
            raise ValueError(
                f"maxtasksperchild={maxtasksperchild!r} cannot be had: the workers belong to the "
                "engine and serve others too; leave it out"
            )
        self._processes = processes
        self._executor = Executor(processes, initializer=initializer, initargs=initargs)
        self._lock = threading.Lock()
        # Guarded by self._lock.
        self._feeds: dict[threading.Thread, _Feed] = {}
        self._is_closed = False

    # --- one call -------------------------------------------------------------------------

    def apply(
        self, func: Callable[..., T], args: Iterable[Any] = (), kwds: dict[str, Any] | None = None
    ) -> T:
        """Call `func(*args, **kwds)` in a worker and wait for what it returns."""
        return self.apply_async(func, args, kwds).get()

    def apply_async(
        self,
        func: Callable[..., T],
        args: Iterable[Any] = (),
        kwds: dict[str, Any] | None = None,
        callback: Callback | None = None,
        error_callback: Callback | None = None,
    ) -> AsyncResult[T]:
        """Call `func(*args, **kwds)` in a worker; return at once.

        Args:
            func: the function.
            args: its positional arguments.
            kwds: its keyword arguments.
            callback: called with the result, in a thread of the engine; must not block.
            error_callback: called with the error instead.

        Raises:
            ValueError: the pool is closed.
        """
        self._require_running()
        call: Any = self._executor.submit(func, *args, **(kwds or {}))
        return AsyncResult([call], _only, callback, error_callback)

    # --- many calls -----------------------------------------------------------------------

    def map(
        self, func: Callable[[Any], T], iterable: Iterable[Any], chunksize: int | None = None
    ) -> list[T]:
        """Call `func` for each item and return all results, in order."""
        return self.map_async(func, iterable, chunksize).get()

    def starmap(
        self, func: Callable[..., T], iterable: Iterable[Any], chunksize: int | None = None
    ) -> list[T]:
        """As `map`, of rows that hold the arguments of a call each."""
        return self.starmap_async(func, iterable, chunksize).get()

    def map_async(
        self,
        func: Callable[[Any], T],
        iterable: Iterable[Any],
        chunksize: int | None = None,
        callback: Callback | None = None,
        error_callback: Callback | None = None,
    ) -> AsyncResult[list[T]]:
        """As `map`; returns at once. For `callback` and `error_callback` see `apply_async`.

        Raises:
            ValueError: the pool is closed, or `chunksize` is less than 1.
        """
        return self._mapped(_call_each, func, iterable, chunksize, callback, error_callback)

    def starmap_async(
        self,
        func: Callable[..., T],
        iterable: Iterable[Any],
        chunksize: int | None = None,
        callback: Callback | None = None,
        error_callback: Callback | None = None,
    ) -> AsyncResult[list[T]]:
        """As `starmap`; returns at once. For the rest see `map_async`."""
        return self._mapped(_call_each_star, func, iterable, chunksize, callback, error_callback)

    def imap(
        self, func: Callable[[Any], T], iterable: Iterable[Any], chunksize: int = 1
    ) -> PoolResults[T]:
        """Return an iterator of `func` of each item, in order. Work begins at once.

        Raises:
            ValueError: the pool is closed, or `chunksize` is less than 1.
        """
        return self._fed(func, iterable, chunksize, ordered=True)

    def imap_unordered(
        self, func: Callable[[Any], T], iterable: Iterable[Any], chunksize: int = 1
    ) -> PoolResults[T]:
        """As `imap`, but each result comes as soon as it can."""
        return self._fed(func, iterable, chunksize, ordered=False)

    def _mapped(
        self,
        call_chunk: Callable[..., list[Any]],
        func: Callable[..., Any],
        iterable: Iterable[Any],
        size: int | None,
        callback: Callback | None,
        error_callback: Callback | None,
    ) -> AsyncResult[Any]:
        self._require_running()
        items = list(iterable)
        if size is None:
            size = max(1, -(-len(items) // (self._width() * _CHUNKS_EACH)))
        _require_size(size)
        submit = self._executor.submit
        calls = [
            submit(call_chunk, func, items[start : start + size])
            for start in range(0, len(items), size)
        ]
        return AsyncResult(calls, _chained, callback, error_callback)

    def _fed(
        self, func: Callable[[Any], T], iterable: Iterable[Any], size: int, *, ordered: bool
    ) -> PoolResults[T]:
        self._require_running()
        _require_size(size)
        feed = _Feed(partial(self._executor.submit, _call_each, func), iterable, size)
        most = self._width() * _AHEAD_EACH

        def run() -> None:
            feed.run(most)
            with self._lock:
                self._feeds.pop(thread, None)

        thread = threading.Thread(target=run, name="flame-pool", daemon=True)
        with self._lock:
            self._feeds[thread] = feed
        thread.start()
        return PoolResults(feed, ordered)

    def _width(self) -> int:
        return self._processes or max(1, int(ensure_engine().resources().get("CPU", 1)))

    # --- end ------------------------------------------------------------------------------

    def close(self) -> None:
        """Take no more calls; those that were taken go on. May be called twice."""
        self._is_closed = True

    def terminate(self) -> None:
        """Take no more calls and cancel those that have not ended. May be called twice."""
        self.close()
        with self._lock:
            feeds = list(self._feeds.values())
        for feed in feeds:
            feed.stop()
        self._executor.abort()

    def join(self) -> None:
        """Wait until all calls have ended.

        Raises:
            ValueError: the pool was not closed.
        """
        if not self._is_closed:
            raise ValueError("Pool is still running: call close() or terminate() first")
        with self._lock:
            threads = list(self._feeds)
        for thread in threads:
            thread.join()
        self._executor.shutdown(wait=True)

    def __enter__(self) -> Pool:
        self._require_running()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.terminate()

    def __repr__(self) -> str:
        state = "closed" if self._is_closed else "running"
        return f"<flame pool: {state}>"

    def _require_running(self) -> None:
        if self._is_closed:
            raise ValueError("Pool not running: it was closed")


def _require_size(size: int) -> None:
    if size < 1:
        raise ValueError(f"chunksize must be 1 or more items, not {size}")


def _only(results: list[Any]) -> Any:
    return results[0]


def _chained(results: list[list[Any]]) -> list[Any]:
    return list(itertools.chain.from_iterable(results))


def _call_each(function: Callable[[Any], T], items: list[Any]) -> list[T]:
    return list(map(function, items))


def _call_each_star(function: Callable[..., T], rows: list[Any]) -> list[T]:
    return list(itertools.starmap(function, rows))
