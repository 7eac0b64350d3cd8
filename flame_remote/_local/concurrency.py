"""Calls of one actor that run beside each other: in threads, or on an event loop."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Coroutine, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from flame_remote._execute.call import execute, execute_coroutine, is_coroutine
from flame_remote._ids import TaskId

from .messages import TaskEntry
from .worker import Worker

if TYPE_CHECKING:
    import asyncio

    from .running import Runner


class Calls(ABC):
    """Starts calls in the order in which they came, of each concurrency group up to a number at a
    time: no group waits for another.
    """

    @abstractmethod
    def start(self, entry: TaskEntry) -> None:
        """Start a call, or keep it until one of those before it ends. Main thread."""

    @abstractmethod
    def interrupt(self, task_id: TaskId) -> bool:
        """Cancel a call; False if that is not known here. Control thread."""

    @abstractmethod
    def leave(self) -> None:
        """Start nothing more: the actor has decided to end. Called by the call that has.

        What runs in threads goes on, and ends as it would; what runs on a loop is cancelled.
        """

    @abstractmethod
    def serve(self) -> None:
        """Take in and start calls until the worker is told to stop. Main thread."""


class ThreadedCalls(Calls):
    """Runs each call in a thread of its group's pool. A call that runs cannot be interrupted."""

    def __init__(self, runner: Runner, worker: Worker, limits: Mapping[str, int]) -> None:
        from concurrent.futures import ThreadPoolExecutor

        self._runner = runner
        self._worker = worker
        self._pools = {  # they start threads as they need them
            group: ThreadPoolExecutor(limit, thread_name_prefix=f"flame-call{group and '-'}{group}")
            for group, limit in limits.items()
        }
        # Any thread; each entry is there from start() until its thread takes it.
        self._waiting: dict[TaskId, TaskEntry] = {}

    def start(self, entry: TaskEntry) -> None:
        self._waiting[entry[0]] = entry
        self._pools[self._runner.group_of(entry[0])].submit(self._run, entry[0])

    def interrupt(self, task_id: TaskId) -> bool:
        entry = self._waiting.pop(task_id, None)
        if entry is None:
            self._worker.shelter.wanted.append(task_id)  # still on its way here, perhaps
        else:
            self._worker.drop(entry)
        return True  # and no signal for the main thread

    def leave(self) -> None:
        self._waiting.clear()

    def serve(self) -> None:
        self._worker.serve_inbox()
        for pool in self._pools.values():
            pool.shutdown()

    def _run(self, task_id: TaskId) -> None:
        entry = self._waiting.pop(task_id, None)
        if entry is None:
            return  # cancelled
        self._runner.begin_call(entry)
        succeeded, value = execute(self._call, (entry,), {})
        self._runner.finish_call(entry, succeeded, value)
        del value  # an error refers to this frame: a cycle, and in it what the call had

    def _call(self, entry: TaskEntry) -> Any:
        function, args, kwargs = self._runner.prepare(entry)
        return function(*args, **kwargs)


class AsyncCalls(Calls):
    """Runs calls on an event loop in the main thread, which also watches the worker's channel.

    A method that is no coroutine function runs on the loop too, and holds it up meanwhile.
    """

    def __init__(self, runner: Runner, worker: Worker, limits: Mapping[str, int]) -> None:
        import asyncio

        self._runner = runner
        self._worker = worker
        self._loop = asyncio.new_event_loop()
        self._one_at_a_time = list(limits.values()) == [1]
        self._slots = {group: asyncio.Semaphore(limit) for group, limit in limits.items()}
        # Main thread only; the control thread asks through the loop.
        self._tasks: dict[TaskId, asyncio.Task[Any]] = {}
        self._not_begun: dict[TaskId, TaskEntry] = {}  # those whose first line has not run

    def run(self, task_id: TaskId, coroutine: Coroutine[Any, Any, Any]) -> tuple[bool, Any]:
        """Run one coroutine to its end; answer as `execute` does."""
        task = self._loop.create_task(execute_coroutine(coroutine))
        self._tasks[task_id] = task
        self._loop.add_reader(self._worker.link.descriptor, self._worker.link.receive_beside)
        try:
            return self._loop.run_until_complete(task)
        except BaseException as error:  # cancelled before it began
            coroutine.close()
            return False, error
        finally:
            self._loop.remove_reader(self._worker.link.descriptor)
            del self._tasks[task_id]

    def serve(self) -> None:
        link = self._worker.link
        self._loop.add_reader(link.descriptor, self._take_calls)
        self._loop.call_soon(self._take_calls)
        link.tell_loop = self._take_calls_soon
        self._loop.run_forever()
        link.tell_loop = None
        self._loop.run_until_complete(self._loop.shutdown_asyncgens())
        self.close()

    def close(self) -> None:
        """Give the loop back. May be called twice."""
        self._loop.close()

    def start(self, entry: TaskEntry) -> None:
        self._not_begun[entry[0]] = entry
        self._tasks[entry[0]] = self._loop.create_task(self._run(entry))

    def interrupt(self, task_id: TaskId) -> bool:
        self._loop.call_soon_threadsafe(self._cancel, task_id)
        return True

    def leave(self) -> None:
        while self._not_begun:
            self._tasks.pop(self._not_begun.popitem()[0]).cancel()
        for task in self._tasks.values():
            task.cancel()

    def _cancel(self, task_id: TaskId) -> None:
        task = self._tasks.get(task_id)
        if task is None:
            self._worker.shelter.wanted.append(task_id)  # still on its way here, perhaps
            return
        task.cancel()
        entry = self._not_begun.pop(task_id, None)
        if entry is not None:  # asyncio throws it away unseen: nobody else would report it
            del self._tasks[task_id]
            self._worker.drop(entry)
            self._stop_if_done()

    def _take_calls(self) -> None:
        worker = self._worker
        worker.link.receive_beside()
        while worker.inbox:
            try:
                entry = worker.inbox.popleft()
            except IndexError:
                break
            worker.run(entry)
        self._stop_if_done()

    def _take_calls_soon(self) -> None:
        with suppress(RuntimeError):  # the loop has just ended
            self._loop.call_soon_threadsafe(self._take_calls)

    def _stop_if_done(self) -> None:
        if self._worker.stopping and not self._tasks:
            self._loop.stop()

    async def _run(self, entry: TaskEntry) -> None:
        del self._not_begun[entry[0]]
        self._runner.begin_call(entry)
        succeeded, value = await execute_coroutine(self._call(entry))
        del self._tasks[entry[0]]
        if not self._worker.leaving:  # else it was cut off, and ends with the actor
            self._runner.finish_call(entry, succeeded, value)
        del value  # as above
        self._stop_if_done()

    async def _call(self, entry: TaskEntry) -> Any:
        async with self._slots[self._runner.group_of(entry[0])]:
            if self._one_at_a_time:
                self._worker.note_begun(entry[0])
            function, args, kwargs = self._runner.prepare(entry)
            value = function(*args, **kwargs)
            return await value if is_coroutine(value) else value
