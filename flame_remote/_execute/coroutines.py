"""Event loops on which `async def` functions run, apart from any loop of the user's."""

from __future__ import annotations

import contextvars
import threading
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from flame_remote._ids import TaskId

from .call import execute, execute_coroutine

if TYPE_CHECKING:
    import asyncio


def run_coroutine(coroutine: Coroutine[Any, Any, Any]) -> tuple[bool, Any]:
    """Run a coroutine to its end; answer as `execute` does. Blocks.

    In the calling thread, or, if an event loop is running there already, in a thread of its own.
    """
    import asyncio  # costs tens of milliseconds: only for who uses it

    if asyncio._get_running_loop() is None:
        return execute(asyncio.run, (coroutine,), {})
    context = contextvars.copy_context()
    results: list[tuple[bool, Any]] = []
    thread = threading.Thread(
        target=lambda: results.append(context.run(execute, asyncio.run, (coroutine,), {})),
        name="flame-coroutine",
    )
    thread.start()
    thread.join()
    return results[0]


class LoopThread:
    """A thread with an event loop, on which the calls of one actor interleave.

    Started in the constructor. Every method may be called from any thread.
    """

    def __init__(self, name: str) -> None:
        import asyncio

        # Constant after construction.
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        # Belongs to the thread.
        self._tasks: dict[TaskId, asyncio.Task[tuple[bool, Any]]] = {}
        self._thread.start()

    def is_current(self) -> bool:
        """Say whether the calling code runs in this thread."""
        return threading.current_thread() is self._thread

    def call_soon(self, function: Callable[[], None]) -> None:
        """Call `function` in the thread, in a context of its own, after what was asked before."""
        with suppress(RuntimeError):  # closed: whoever closes a loop also ends the calls on it
            self._loop.call_soon_threadsafe(function, context=contextvars.copy_context())

    def start(
        self,
        task_id: TaskId,
        coroutine: Coroutine[Any, Any, Any],
        ended: Callable[[bool, Any], None],
    ) -> None:
        """Start a coroutine in the present context; `ended` gets what `execute` would answer.

        Called in the thread.
        """
        import asyncio

        task = self._loop.create_task(execute_coroutine(coroutine))
        self._tasks[task_id] = task

        def note_end(_: asyncio.Task[tuple[bool, Any]]) -> None:
            del self._tasks[task_id]
            if task.cancelled():  # before it began
                coroutine.close()
                ended(False, asyncio.CancelledError())
            else:
                ended(*task.result())

        task.add_done_callback(note_end)

    def cancel(self, task_id: TaskId) -> None:
        """Raise asyncio.CancelledError in a coroutine, if it has not ended."""

        def cancel() -> None:
            if (task := self._tasks.get(task_id)) is not None:
                task.cancel()

        self.call_soon(cancel)

    def close(self) -> None:
        """Cancel all coroutines and end the thread, once they have. May be called twice."""
        self.call_soon(self._loop.stop)
        if not self.is_current():
            self._thread.join()

    def _run(self) -> None:
        import asyncio

        try:
            self._loop.run_forever()
            left = asyncio.all_tasks(self._loop)
            for task in left:
                task.cancel()
            if left:
                self._loop.run_until_complete(asyncio.wait(left))
            self._loop.run_until_complete(self._loop.shutdown_asyncgens())
            self._loop.run_until_complete(self._loop.shutdown_default_executor())
        finally:
            self._loop.close()
