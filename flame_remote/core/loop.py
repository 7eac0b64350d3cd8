"""An asyncio loop in a thread of its own, which any thread can hand coroutines to."""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from contextlib import suppress
from typing import Any, TypeVar

T = TypeVar("T")


class LoopThread:
    """Runs coroutines in a daemon thread. Safe to call from any thread."""

    def __init__(self, name: str, closed: Callable[[], Exception]) -> None:
        """Start the thread.

        `name` is how debuggers show it. `closed` makes the error for all that is handed over after
        `close()`, or has not ended by then.
        """
        # Constant after construction.
        self.loop = asyncio.new_event_loop()
        self._closed_error = closed
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        # Guarded by self._lock: nothing enters the inbox after it was closed.
        self._lock = threading.Lock()
        self._inbox: deque[tuple[Coroutine[Any, Any, Any], Future[Any]]] = deque()
        self._closed = False
        # The loop's thread only; the loop itself refers to tasks weakly.
        self._tasks: set[asyncio.Task[Any]] = set()
        self._thread.start()

    @property
    def is_current(self) -> bool:
        """Whether the caller runs in the loop's thread, where it must not block."""
        return threading.get_ident() == self._thread.ident

    @property
    def is_closed(self) -> bool:
        """Whether `close` was called."""
        return self._closed

    def spawn(self, coroutine: Coroutine[Any, Any, T]) -> Future[T]:
        """Run a coroutine; cancelling the future cancels it. Never blocks.

        Callbacks of the future run in the loop's thread and must not block.
        """
        future: Future[T] = Future()
        with self._lock:
            if self._closed:
                coroutine.close()
                raise self._closed_error()
            self._inbox.append((coroutine, future))
            # One wake-up for many: it writes to a pipe, and costs this thread its turn in Python.
            if len(self._inbox) == 1:
                self.loop.call_soon_threadsafe(self._take_inbox)
        return future

    def keep(self, coroutine: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Run a coroutine that nobody waits for until it ends, or the loop does. Loop's thread."""
        task = self.loop.create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def close(self, last: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Cancel what still runs, run `last`, end the thread. Does nothing the second time.

        Blocks until the thread has ended, unless the caller runs in it.
        """
        with self._lock:
            if not self._closed:
                self._closed = True
                self.loop.call_soon_threadsafe(lambda: self.loop.create_task(self._end(last)))
        if not self.is_current:
            self._thread.join()

    def _run(self) -> None:
        asyncio.set_event_loop(self.loop)
        try:
            self.loop.run_forever()
        finally:
            self.loop.close()

    def _take_inbox(self) -> None:
        """Start what was handed over."""
        with self._lock:
            taken = list(self._inbox)
            self._inbox.clear()
        for coroutine, future in taken:
            self._settle_later(self.keep(coroutine), future)

    def _settle_later(self, task: asyncio.Task[T], future: Future[T]) -> None:
        """Give the future what the task comes to; cancel the task if the future is cancelled."""

        def task_ended(_: object) -> None:
            if not future.set_running_or_notify_cancel():
                return
            if task.cancelled():
                future.set_exception(self._closed_error())
            elif (error := task.exception()) is not None:
                future.set_exception(error)
            else:
                future.set_result(task.result())

        def future_ended(_: object) -> None:
            if future.cancelled():
                with suppress(RuntimeError):  # the loop was closed, and the task has ended with it
                    self.loop.call_soon_threadsafe(task.cancel)

        task.add_done_callback(task_ended)
        future.add_done_callback(future_ended)

    async def _end(self, last: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """End everything, in the loop's thread."""
        self._take_inbox()
        running = asyncio.all_tasks() - {asyncio.current_task()}
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
        await asyncio.sleep(0)  # the futures of tasks that have just ended are given their results
        try:
            await last()
            await self.loop.shutdown_asyncgens()
        finally:
            self.loop.stop()
