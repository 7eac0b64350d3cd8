"""`flame.Executor`: a concurrent.futures.Executor whose calls run on the engine's workers."""

from __future__ import annotations

import atexit
import concurrent.futures
import functools
import itertools
import math
import threading
import types
import weakref
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final, TypeVar

from flame_remote._call_future import BrokenCallError, CallFuture
from flame_remote._initializer import Initializer, call_initialized
from flame_remote._options import TaskOptions
from flame_remote._refs import ObjectRef
from flame_remote._remote import RemoteFunction
from flame_remote._session import ensure_engine
from flame_remote.exceptions import WorkerCrashedError
from flame_remote.runner.source import Source

T = TypeVar("T")


class Executor(concurrent.futures.Executor):
    """Runs calls on the engine's workers, which it shares with everything else in this process.

    What is written for `concurrent.futures.ProcessPoolExecutor` runs on it, faster and with less
    ado: functions of `__main__`, lambdas and closures travel too, an ObjectRef as an argument
    stands for its value, and a worker that dies fails its own call only. Safe to use from any
    thread.
    """

    def __init__(
        self,
        max_workers: int | None = None,
        *,
        initializer: Callable[..., object] | None = None,
        initargs: tuple[Any, ...] = (),
        max_retries: int = 0,
        max_tasks_per_child: int | None = None,
    ) -> None:
        """Start nothing yet: the first call does.

        Args:
            max_workers: how many calls may run at the same time; default: one for each CPU. More
                than there are CPUs share them.
            initializer: called once in each worker, before its first call.
            initargs: the arguments of `initializer`.
            max_retries: how often a call is started again when its process dies.
            max_tasks_per_child: after so many calls of one function a process is replaced by a
                fresh one, for code that leaks; None for never. As `max_calls` of a task.

        Raises:
            ValueError: `max_workers` or `max_tasks_per_child` is not positive.
            TypeError: `initializer` cannot be called.
        """
        if max_workers is not None and max_workers <= 0:
            raise ValueError("max_workers must be greater than 0")
        if initializer is not None and not callable(initializer):
            raise TypeError("initializer must be a callable")
        if max_tasks_per_child is not None and max_tasks_per_child <= 0:
            raise ValueError("max_tasks_per_child must be >= 1")
        self._max_workers = max_workers
        self._initializer = initializer and Initializer(initializer, tuple(initargs))
        self._max_retries = max_retries
        self._max_calls = max_tasks_per_child or 0
        self._changed = threading.Condition()
        # Guarded by self._changed.
        self._waiting: deque[CallFuture[Any]] = deque()  # for one of those under way to end
        self._under_way = 0  # counted where not all can be
        # Any thread: calls that have not ended.
        self._unfinished: set[CallFuture[Any]] = set()
        self._is_shut_down = False
        self._most: float = 0  # calls under way; 0 until the engine is known
        self._remote: Callable[[Callable[..., Any]], RemoteFunction[..., Any]]
        _live.add(self)

    def submit(
        self, fn: Callable[..., T], /, *args: Any, **kwargs: Any
    ) -> concurrent.futures.Future[T]:
        """Schedule `fn(*args, **kwargs)`; return the future of its result. Does not block.

        Raises:
            RuntimeError: the executor was shut down.
        """
        future: CallFuture[T] = CallFuture()
        future.refs_of_others = self.refs_under_way
        most = self._most or self._learn_engine()
        self._unfinished.add(future)
        if _exiting or self._is_shut_down:  # asked afterwards: shutdown() waits for what is there
            self._unfinished.discard(future)
            raise RuntimeError(
                "cannot schedule new futures after "
                + ("interpreter shutdown" if _exiting else "shutdown")
            )
        if most < math.inf:
            with self._changed:
                if self._under_way >= most:
                    future.call = (fn, args, kwargs)
                    self._waiting.append(future)
                    return future
                self._under_way += 1
        self._hand_over(future, fn, args, kwargs)
        return future

    def map(
        self,
        fn: Callable[..., T],
        *iterables: Iterable[Any],
        timeout: float | None = None,
        chunksize: int = 1,
        **more: Any,
    ) -> Iterator[T]:
        """Return an iterator of `fn` of each item, in order; work begins at once.

        `fn.map` of a remote function does the same without a chunk size, and takes items as it
        needs them.

        Args:
            fn: the function.
            iterables: one for each argument; the shortest one ends the iteration.
            timeout: seconds from now for all results.
            chunksize: how many items travel together.
            more: what the `map` of this Python's executors takes besides, as `buffersize`.

        Raises:
            ValueError: `chunksize` is less than 1.
            TimeoutError: from the iterator, when the time is over.
        """
        if chunksize < 1:
            raise ValueError("chunksize must be >= 1.")
        if chunksize == 1:
            return super().map(fn, *iterables, timeout=timeout, **more)
        chunks = _chunks(zip(*iterables), chunksize)  # noqa: B905  the shortest one ends it
        several = functools.partial(_call_each, fn)
        results = super().map(several, chunks, timeout=timeout, **more)
        return _chained(results)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Take no more calls. Blocks, with `wait`, until all that were taken have ended.

        The engine and its workers stay. May be called again.

        Args:
            wait: whether to wait.
            cancel_futures: whether to drop the calls that have not begun.
        """
        self._is_shut_down = True
        for future in list(self._unfinished) if cancel_futures else ():
            future.cancel()
        with self._changed:
            while wait and self._unfinished:
                self._changed.wait()

    def abort(self) -> None:
        """Take no more calls and cancel all that have not ended, those that run too.

        Does not wait. A call that runs gets KeyboardInterrupt.
        """
        self._is_shut_down = True
        for future in list(self._unfinished):
            ref = future.ref
            if not future.cancel() and ref is not None:
                ref.cancel()

    def refs_under_way(self) -> list[ObjectRef[Any]]:
        """Return the refs of the calls that have been submitted and have not ended."""
        return [ref for future in list(self._unfinished) if (ref := future.ref) is not None]

    # --- calls --------------------------------------------------------------------------

    def _learn_engine(self) -> float:
        """Find out how many calls may be under way.

        As many as there are workers for, if that is less than there are CPUs. Else the engine
        sees to it, and gets all of them: the more it has, the more of them share a message.
        """
        cpus = ensure_engine().resources().get("CPU", 1.0)
        workers = self._max_workers or max(1, int(cpus))
        with self._changed:
            share = min(1.0, cpus / workers)
            options = TaskOptions(
                num_cpus=share, max_retries=self._max_retries, max_calls=self._max_calls
            )
            made = functools.partial(_made_remote, options)
            self._remote = functools.lru_cache(_FUNCTIONS_KEPT)(made)
            self._most = workers if workers < cpus else math.inf
            return self._most

    def _hand_over(
        self,
        future: CallFuture[Any],
        function: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> None:
        """Submit a call that has been counted as under way."""
        try:
            if isinstance(function, RemoteFunction):
                function = function.__wrapped__
            if self._initializer is not None:
                call = self._remote(call_initialized)
                ref = call.remote(self._initializer, function, args, kwargs)
            elif isinstance(function, _SHIPPED_ONCE):
                ref = self._remote(function).remote(*args, **kwargs)
            else:
                ref = self._remote(_call).remote(function, args, kwargs)
            future.ref = ref
        except BaseException as error:
            self._settle(future, error, None)
            return
        ref.add_done_callback(functools.partial(self._note_end, future))

    def _note_end(self, future: CallFuture[Any], ref: ObjectRef[Any]) -> None:
        try:
            value = ref.get()
        except BaseException as error:
            self._settle(future, error, None)
        else:
            self._settle(future, None, value)

    def _settle(self, future: CallFuture[Any], error: BaseException | None, value: Any) -> None:
        """Give a future its result; let the next call take its place."""
        future.ref = None
        if future.set_running_or_notify_cancel():
            if error is None:
                future.set_result(value)
            elif type(error) is WorkerCrashedError:
                future.set_exception(BrokenCallError(*error.args))
            else:
                future.set_exception(error)
        self._unfinished.discard(future)
        if self._is_shut_down and not self._unfinished:
            with self._changed:
                self._changed.notify_all()
        if self._most < math.inf:
            self._start_next()

    def _start_next(self) -> None:
        """Let a call that waits take the place of one that has ended."""
        following = None
        with self._changed:
            while self._waiting and following is None:
                following = self._waiting.popleft()
                if following.cancelled():
                    following.set_running_or_notify_cancel()
                    self._unfinished.discard(following)
                    following = None
            if following is None:
                self._under_way -= 1
                self._changed.notify_all()
        if following is not None:
            call, following.call = following.call, None
            assert call is not None
            self._hand_over(following, *call)


_FUNCTIONS_KEPT: Final = 64  # exported, by an executor; it may be given a new one with each call

# Callables that are exported once and then called by name; any other may change between two calls,
# as the object of a bound method may, and travels with each.
_SHIPPED_ONCE: Final = (types.FunctionType, types.BuiltinFunctionType, type)


def _made_remote(options: TaskOptions, function: Callable[..., Any]) -> RemoteFunction[..., Any]:
    return RemoteFunction(Source.of(function), options)


def _call(function: Callable[..., Any], args: Any, kwargs: Any) -> Any:
    return function(*args, **kwargs)


def _call_each(function: Callable[..., T], rows: Iterable[tuple[Any, ...]]) -> list[T]:
    return [function(*row) for row in rows]


def _chunks(rows: Iterable[tuple[Any, ...]], size: int) -> Iterator[list[tuple[Any, ...]]]:
    rows = iter(rows)
    while chunk := list(itertools.islice(rows, size)):
        yield chunk


def _chained(chunks: Iterator[list[T]]) -> Iterator[T]:
    for chunk in chunks:
        yield from chunk


# --- at exit --------------------------------------------------------------------------------------

_live: weakref.WeakSet[Executor] = weakref.WeakSet()
_exiting = False


def _finish_all() -> None:
    """Wait for the calls of all executors, as those of the standard library do at exit.

    Registered when this module is imported, thus later than what closes the engine, and so run
    before it.
    """
    global _exiting
    _exiting = True
    for executor in list(_live):
        executor.shutdown(wait=True)


atexit.register(_finish_all)
