"""A worker: takes tasks from its channel, runs them in order, sends results back.

The main thread runs the tasks and reads the channel between them. What must be heard while one runs
comes to a second thread (control.py).
"""

from __future__ import annotations

import contextvars
import os
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from flame_remote._deadline import NEVER
from flame_remote._execute.failure import encode_error
from flame_remote._execute.stack import is_stack_nearly_full
from flame_remote._ids import TaskId
from flame_remote._outcome import Kind
from flame_remote.exceptions import TaskCancelledError

from .link import Link
from .mapping import MappingCache
from .messages import (
    About,
    Hello,
    LoadTarget,
    Message,
    Retire,
    Returned,
    RunTasks,
    Segment,
    Stop,
    TaskEntry,
    UnloadTarget,
)
from .shelter import Shelter
from .values import unpin

current_task: Final[contextvars.ContextVar[TaskId]] = contextvars.ContextVar(
    "flame_task", default=0
)


class Worker:
    """The tasks of a worker process: those that wait, and the one that runs. One per process."""

    def __init__(self, worker_id: int, link: Link, progress: memoryview) -> None:
        # Constant after construction.
        self.id = worker_id
        self.link = link
        self.shelter = Shelter()
        self.mappings = MappingCache()
        self._progress = progress  # one u64: the task started last; the driver reads it
        # Appended to and popped by any thread; a deque's methods are atomic.
        self.inbox: deque[TaskEntry] = deque()
        self.helping: deque[TaskEntry] = deque()
        # What is special about tasks to come; the thread that reads adds, who runs one takes.
        self.abouts: dict[TaskId, About] = {}
        # Written by the main thread only.
        self.running: TaskId = 0
        # Written by the thread that reads.
        self.stopping = False
        self.leaving = False  # by the actor's own wish: nothing begins any more; any thread
        self.unneeded: dict[int, None] = {}  # targets to be unloaded when nothing runs or waits
        # Whether tasks that wait behind a blocked one go back to the driver; the calls of an actor
        # have nowhere else to run.
        self.gives_back = True
        # What its environment puts before the driver's sys.path, and where it wants to be.
        self.path_first: list[str] = []
        self.folder_to_enter = ""
        # Set by what is built on top of this.
        self.load_target: Callable[[LoadTarget], None]
        self.unload_target: Callable[[int], None] = lambda target_id: None
        self.run: Callable[[TaskEntry], None]  # sheltered; never raises
        self.refuse: Callable[[TaskEntry, Exception], None]  # as `run`
        self.answer: Callable[[Message], None]
        self.interrupt_call: Callable[[TaskId], bool] = lambda task_id: False
        self.serve_calls: Callable[[], None] | None = None  # once calls run beside each other
        link.handle = self._handle

    # --- the main thread ----------------------------------------------------------------

    def serve(self) -> None:
        """Run tasks until told to stop, or until the driver is gone."""
        self.link.send(Hello())
        self.serve_inbox()
        if self.serve_calls is not None:
            self.serve_calls()

    def serve_inbox(self) -> None:
        """Run what comes, until told to stop, or until calls come to run beside each other."""
        inbox, serve_calls = self.inbox, self.serve_calls
        while True:
            while inbox and self.serve_calls is serve_calls:
                try:
                    entry = inbox.popleft()
                except IndexError:
                    break  # recalled meanwhile
                self.run(entry)
            if self.helping:
                self._keep_helping()
                continue
            if self.unneeded:
                self._unload()
            self.link.flush()
            if self.stopping or self.serve_calls is not serve_calls:
                return
            self.link.pump_until(self._has_something_to_do, NEVER)

    def _has_something_to_do(self) -> bool:
        return bool(self.inbox or self.helping or self.unneeded) or self.stopping

    def _unload(self) -> None:
        """Let go of code that nobody will call. Its end may run code of the user's."""
        with suppress(KeyError):  # the reading thread has taken the last: it is needed again
            while True:
                self.unload_target(self.unneeded.popitem()[0])

    def _keep_helping(self) -> None:
        """Put into the inbox what was sent for a wait that had ended meanwhile."""
        with suppress(IndexError):
            while True:
                self.inbox.append(self.helping.popleft())

    def start_task(self, task_id: TaskId) -> None:
        """Say that the task has started, where the driver sees it even if this process dies now."""
        self._progress[0] = task_id
        self.running = task_id

    def forget_started(self) -> None:
        """Say that the task that has started last is none to count, should this process die now."""
        self._progress[0] = 0

    def note_begun(self, task_id: TaskId) -> None:
        """As `start_task`, of a call that runs on an event loop, one at a time."""
        self._progress[0] = task_id

    def leave(self) -> None:
        """Drop all that waits, and stop once nothing runs. Any thread."""
        self.leaving = self.stopping = True
        self.inbox.clear()

    def run_helping(self) -> None:
        """Run what was sent to be run on top of the task that is blocked. Sheltered."""
        outer = self.running
        outer_task = current_task.get()
        while self.helping:
            try:
                entry = self.helping.popleft()
            except IndexError:
                break
            if is_stack_nearly_full(8):
                error = RecursionError("tasks inside tasks, too deep to run them in one process")
                self.refuse(entry, error)
            else:
                self.run(entry)
        self.link.flush()
        current_task.set(outer_task)
        self.start_task(outer)

    # --- tasks that do not start --------------------------------------------------------

    def give_back(self) -> None:
        """Send finished results, and return what has not started. Any thread."""
        returned = self.take_unstarted()
        self.link.flush()
        self.link.send(Returned(returned))

    def take_unstarted(self) -> list[TaskId]:
        """Take out all that waits, from its end: the main thread takes from its front."""
        taken: list[TaskId] = []
        for queue in (self.inbox, self.helping):
            with suppress(IndexError):
                while True:
                    taken.append(queue.pop()[0])
        return taken[::-1]

    def drop_unstarted(self, task_id: TaskId) -> bool:
        """Drop a task that waits here; False if it does not. Any thread."""
        for queue in (self.inbox, self.helping):
            for entry in list(queue):
                if entry[0] == task_id:
                    try:
                        queue.remove(entry)
                    except ValueError:
                        return False  # started meanwhile
                    self.drop(entry)
                    return True
        return False

    def drop(self, entry: TaskEntry) -> None:
        """Report a task that was cancelled before it started. Any thread."""
        unpin([argument[1:] for argument in entry[3]], self.link.counts.unpinned)
        failure = encode_error(TaskCancelledError("task"))
        self.link.outbox.append(((entry[0], int(Kind.FAILED), failure, ()), None))
        self.link.flush()

    # --- messages -----------------------------------------------------------------------

    def _handle(self, message: Message) -> None:
        match message:
            case RunTasks() if self.leaving:
                pass  # the driver will know, and ends them
            case RunTasks(helps, tasks):
                (self.helping if helps else self.inbox).extend(tasks)
            case About(task_id):
                self.abouts[task_id] = message
            case LoadTarget():
                self.unneeded.pop(message.target_id, None)
                self.load_target(message)
            case UnloadTarget(target_id):
                self.unneeded[target_id] = None
            case Segment(segment_id):
                descriptor = self.link.take_descriptor()
                try:
                    self.mappings.add_segment(segment_id, descriptor)
                finally:
                    os.close(descriptor)
            case Retire(segment_id):
                self.mappings.remove_segment(segment_id)
            case Stop():
                self.stopping = True
            case _:
                self.answer(message)
