"""A worker: takes tasks from its channel, runs them in order, sends results back.

The main thread runs the tasks and reads the channel between them. A second thread reads the
control socket, so that tasks can be recalled or interrupted while one runs.
"""

from __future__ import annotations

import contextvars
import os
import signal
import socket
import threading
import time
from collections import deque
from collections.abc import Callable
from select import POLLIN, poll
from types import FrameType
from typing import Any, Final

from flame_remote._deadline import NEVER, Deadline
from flame_remote._execute.failure import encode_error
from flame_remote._ids import TaskId
from flame_remote._outcome import Kind
from flame_remote.exceptions import TaskCancelledError

from .channel import Receiver
from .counts import LocalCounts
from .mapping import MappingCache
from .messages import (
    Hello,
    Interrupt,
    LoadTarget,
    Message,
    Recall,
    ResultEntry,
    Results,
    Retire,
    Returned,
    RunTasks,
    Segment,
    Stop,
    TaskEntry,
    encode,
)
from .spin import AdaptiveSpin
from .turn import Turn

# Results of short tasks are sent together, but none waits longer than this for the next.
_RESULT_DELAY_SECONDS: Final = 0.001

# A signal that comes after Python has looked for one and before a system call begins does not end
# that call, so it is sent again after these pauses unless its handler has run.
_INTERRUPT_AGAIN_SECONDS: Final = (0.0005, 0.005, 0.05)

current_task: contextvars.ContextVar[TaskId] = contextvars.ContextVar("flame_task", default=0)


class Worker:
    """The state of a worker process. One per process."""

    def __init__(
        self,
        worker_id: int,
        channel: socket.socket,
        control: socket.socket,
        progress: memoryview,
    ) -> None:
        # Constant after construction.
        self.id = worker_id
        self.descriptor = channel.fileno()
        self.turn = Turn()
        self.mappings = MappingCache()
        self.ref_events: deque[int] = deque()
        self._channel = channel
        self._control = control
        self._progress = progress  # one u64: the task started last; the driver reads it
        self._poll = poll()
        self._poll.register(channel, POLLIN)
        # Appended to and popped by any thread; a deque's methods are atomic.
        self.inbox: deque[TaskEntry] = deque()
        self.helping: deque[TaskEntry] = deque()
        self.outbox: deque[tuple[ResultEntry, Any]] = deque()  # with what must live until sent
        self.callbacks: deque[Callable[[], None]] = deque()  # to be run outside a turn
        # Guarded by self.turn.
        self.counts = LocalCounts(self.ref_events)
        self.seconds: dict[int, tuple[int, float]] = {}
        self._receiver = Receiver(channel)
        # Guarded by self._reading.
        self._reading = threading.Condition()
        self._has_reader = False
        self._followers = 0
        # Main thread only.
        self._spin = AdaptiveSpin()
        self.running: TaskId = 0
        self.unsent_since = 0.0
        # Written by the control thread, read by the signal handler.
        self._interrupting: TaskId = 0
        self._noticed: TaskId = 0  # written by the signal handler: what it has acted on
        # Tasks that are to be dropped when they come; the control thread adds, the oldest fall out.
        self.unwanted: deque[TaskId] = deque(maxlen=64)
        self.stopping = False
        # Whether tasks that wait behind a blocked one go back to the driver; the calls of an actor
        # have nowhere else to run.
        self.gives_back = True
        # Set by what is built on top of this.
        self.load_target: Callable[[LoadTarget], None]
        self.run: Callable[[TaskEntry], None]
        self.answer: Callable[[Message], None]
        self.interrupt_call: Callable[[TaskId], bool] = lambda task_id: False
        self.serve_calls: Callable[[], None] | None = None  # once calls run beside each other

    # --- the main thread ----------------------------------------------------------------

    def serve(self) -> None:
        """Run tasks until told to stop, or until the driver is gone."""
        self.send(Hello())
        signal.signal(signal.SIGINT, self._on_interrupt)
        threading.Thread(target=self._listen, name="flame-control", daemon=True).start()
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
            self.flush()
            if self.stopping or self.serve_calls is not serve_calls:
                return
            self.pump_until(self._has_something_to_do, NEVER)

    def _has_something_to_do(self) -> bool:
        return bool(self.inbox) or self.stopping

    def start_task(self, task_id: TaskId) -> None:
        """Say that the task has started, where the driver sees it even if this process dies now."""
        self._progress[0] = task_id
        self.running = task_id

    def end_task(self, entry: ResultEntry, keep: Any, started: float, target_id: int) -> None:
        """Note the result of a task of the main thread; send what has waited long enough."""
        now = time.perf_counter()
        calls, seconds = self.seconds.get(target_id, (0, 0.0))
        self.seconds[target_id] = (calls + 1, seconds + now - started)
        if not self.outbox:
            self.unsent_since = now
        self.outbox.append((entry, keep))
        if now - self.unsent_since > _RESULT_DELAY_SECONDS:
            self.flush()

    def run_helping(self) -> None:
        """Run what was sent to be run on top of the task that is blocked, in the main thread."""
        outer = self.running
        outer_task = current_task.get()
        while self.helping:
            try:
                entry = self.helping.popleft()
            except IndexError:
                break
            self.run(entry)
        self.flush()
        current_task.set(outer_task)
        self.start_task(outer)

    # --- sending ------------------------------------------------------------------------

    def send(self, message: Message, descriptors: list[int] | None = None) -> None:
        """Send one message, and before it whatever the driver must know first. Any thread."""
        with self.turn:
            self.send_in_turn(message, descriptors)

    def flush(self) -> None:
        """Send all results and all changes of counts. Any thread."""
        with self.turn:
            self._flush()

    def _flush(self) -> None:
        results: list[ResultEntry] = []
        keep: list[Any] = []
        outbox = self.outbox
        while outbox:
            entry, kept = outbox.popleft()
            results.append(entry)
            keep.append(kept)
        frames = b""
        changes = self.counts.changes()
        if changes is not None:
            frames = encode(changes)
        if results:
            seconds, self.seconds = self.seconds, {}
            frames += encode(Results(results, seconds))
        if frames:
            self._send_bytes(frames)

    def send_in_turn(self, message: Message, descriptors: list[int] | None = None) -> None:
        """As `send`, for a caller who has the turn already."""
        changes = self.counts.changes()
        frames = encode(changes) if changes is not None else b""
        if descriptors:
            if frames:
                self._send_bytes(frames)
            socket.send_fds(self._channel, [encode(message, len(descriptors))], descriptors)
        else:
            self._send_bytes(frames + encode(message))

    def _send_bytes(self, frames: bytes) -> None:
        try:
            self._channel.sendall(frames)
        except OSError:
            os._exit(0)  # the driver is gone: nobody is left to work for

    # --- receiving ----------------------------------------------------------------------

    def pump_until(self, is_done: Callable[[], bool], deadline: Deadline) -> bool:
        """Take in messages until `is_done()`; False if the deadline passes first.

        Any thread: one reads, others wait for what it reads. Blocks.
        """
        with self._reading:
            self._followers += 1
            try:
                while self._has_reader:
                    if is_done():
                        return True
                    if not self._reading.wait(deadline.remaining()) and deadline.expired():
                        return is_done()
                self._has_reader = True
            finally:
                self._followers -= 1
        try:
            while not is_done():
                if not self._wait_readable(deadline):
                    return is_done()
                self.receive()
            return True
        finally:
            with self._reading:
                self._has_reader = False
                self._reading.notify_all()

    def _wait_readable(self, deadline: Deadline) -> bool:
        """Look for a moment, then sleep, until there is something to receive."""
        until = self._spin.until()
        if until:
            while time.perf_counter() < until:
                if self._poll.poll(0):
                    self._spin.hit()
                    return True
                os.sched_yield()
            self._spin.miss()
        remaining = deadline.remaining()
        return bool(self._poll.poll(None if remaining is None else remaining * 1000))

    def receive(self) -> None:
        """Take in what there is to receive, if anything. Never blocks. Any thread."""
        with self.turn:
            try:
                messages = self._receiver.receive(socket.MSG_DONTWAIT)
            except BlockingIOError:
                return
            except ConnectionError:
                messages = None
            if messages is None:
                os._exit(0)
            for message in messages:
                self._handle(message)
        while self.callbacks:
            self.callbacks.popleft()()
        if self._followers:
            with self._reading:
                self._reading.notify_all()

    def _handle(self, message: Message) -> None:
        match message:
            case RunTasks(helps, tasks):
                (self.helping if helps else self.inbox).extend(tasks)
            case LoadTarget():
                self.load_target(message)
            case Segment(segment_id):
                descriptor = self._receiver.descriptors.popleft()
                self.mappings.add_segment(segment_id, descriptor)
                os.close(descriptor)
            case Retire(segment_id):
                self.mappings.remove_segment(segment_id)
            case Stop():
                self.stopping = True
            case _:
                self.answer(message)

    # --- the control thread -------------------------------------------------------------

    def _listen(self) -> None:
        receiver = Receiver(self._control)
        while True:
            try:
                messages = receiver.receive()
            except OSError:
                return
            if messages is None:
                return
            for message in messages:
                match message:
                    case Recall():
                        self.give_back()
                    case Interrupt(task_id):
                        self._interrupt(task_id)

    def give_back(self) -> None:
        """Send finished results, and return what has not started."""
        returned = self.take_unstarted()
        self.flush()
        self.send(Returned(returned))

    def take_unstarted(self) -> list[TaskId]:
        """Take all tasks out of the inbox, from its end: the main thread takes from its front."""
        taken: list[TaskId] = []
        while True:
            try:
                taken.append(self.inbox.pop()[0])
            except IndexError:
                return taken[::-1]

    def _interrupt(self, task_id: TaskId) -> None:
        for queue in (self.inbox, self.helping):
            for entry in list(queue):
                if entry[0] == task_id:
                    try:
                        queue.remove(entry)
                    except ValueError:
                        break  # started meanwhile
                    self.drop(entry)
                    return
        if self.interrupt_call(task_id):
            return
        # It runs, or has ended, or is still on its way here: then it is dropped as it comes.
        self.unwanted.append(task_id)
        self._interrupting = task_id
        main = threading.main_thread().ident
        for patience in _INTERRUPT_AGAIN_SECONDS:
            if self.running != task_id or self._noticed == task_id or main is None:
                break
            signal.pthread_kill(main, signal.SIGINT)
            time.sleep(patience)

    def drop(self, entry: TaskEntry) -> None:
        """Report a task that was cancelled before it started."""
        unpin(entry, self.counts)
        failure = encode_error(TaskCancelledError("task"))
        self.outbox.append(((entry[0], int(Kind.FAILED), failure, ()), None))
        self.flush()

    def _on_interrupt(self, signum: int, frame: FrameType | None) -> None:
        # Only for the task that is meant: it may have ended since the signal was sent.
        meant = self._interrupting and self.running == self._interrupting
        if meant:
            self._noticed = self._interrupting
        if meant and not self.turn.defer_interrupt():
            raise KeyboardInterrupt

    def note_interrupt(self, task_id: TaskId) -> None:
        """Note that the task is being cancelled, whatever way."""
        self._interrupting = task_id

    def was_interrupted(self, task_id: TaskId) -> bool:
        """Say whether the task was to be cancelled, and so its KeyboardInterrupt is ours."""
        return self._interrupting == task_id


def unpin(entry: TaskEntry, counts: LocalCounts) -> None:
    """Note that the stored values among a task's arguments will not be read."""
    for _, object_id, kind, _ in entry[3]:
        if kind == Kind.STORED:
            counts.unpinned.append(object_id)
