"""`multiprocessing.Pool` on flame: `from flame_remote.multiprocessing import Pool`.

A pool takes the engine's workers, which stay warm from one pool to the next; functions of
`__main__`, lambdas and closures travel, and no `if __name__ == "__main__"` is needed.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Iterable
from functools import partial
from multiprocessing import TimeoutError as PoolTimeoutError
from types import TracebackType
from typing import Any, Final, TypeVar

from flame_remote._executor import Executor
from flame_remote._pool_results import AsyncResult, Callback, Feed, PoolResults
from flame_remote._session import ensure_engine

T = TypeVar("T")

__all__ = ["AsyncResult", "Pool", "PoolTimeoutError"]

_CHUNKS_EACH: Final = 4  # for each process, where the pool chooses the chunk size
_AHEAD_EACH: Final = 4  # chunks of `imap` under way or waiting, for each process


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
            maxtasksperchild: after so many calls, each of an item or a chunk, a process is replaced
                by a fresh one, for code that leaks; None for never.
            context: ignored; a start method means nothing here.

        Raises:
            ValueError: `processes` or `maxtasksperchild` is less than 1.
            TypeError: `initializer` cannot be called.
        """
        if processes is not None and processes < 1:
            raise ValueError("Number of processes must be at least 1")
        if maxtasksperchild is not None and maxtasksperchild < 1:
            raise ValueError("maxtasksperchild must be a positive int or None")
        self._processes = processes
        self._executor = Executor(
            processes,
            initializer=initializer,
            initargs=initargs,
            max_tasks_per_child=maxtasksperchild,
        )
        self._lock = threading.Lock()
        # Guarded by self._lock.
        self._feeds: dict[threading.Thread, Feed] = {}
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
        feed = Feed(partial(self._executor.submit, _call_each, func), iterable, size)
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
