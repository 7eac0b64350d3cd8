"""What the driver wants of a worker while a task runs: a thread reads the control socket."""

from __future__ import annotations

import itertools
import signal
import socket
import threading
from collections.abc import Iterator
from select import POLLIN, poll
from typing import Final

from flame_remote._ids import TaskId

from .channel import Receiver
from .messages import Interrupt, Recall
from .worker import Worker

# A signal may come in vain: after Python has looked for one and before a system call begins, or
# where the code is fragile. So it is sent until the task is struck or has ended.
_PAUSES: Final = (0.0005, 0.005, 0.05)
_LONGEST_PAUSE: Final = 0.2


class Control:
    """Gives unstarted tasks back, and cancels one, in a thread of its own."""

    def __init__(self, worker: Worker, connection: socket.socket) -> None:
        # Constant after construction.
        self._worker = worker
        self._connection = connection
        self._main_thread = threading.main_thread().ident or 0
        self._thread = threading.Thread(target=self._listen, name="flame-control", daemon=True)
        # Belongs to the thread.
        self._pauses: Iterator[float] = itertools.repeat(_LONGEST_PAUSE)

    def start(self) -> None:
        """Listen from now on, until the driver is gone."""
        self._thread.start()

    def join(self) -> None:
        """Wait until the driver is gone. Blocks."""
        self._thread.join()

    def _listen(self) -> None:
        receiver = Receiver(self._connection)
        readable = poll()
        readable.register(self._connection, POLLIN)
        while True:
            pause = self._strike()
            if not readable.poll(None if pause is None else pause * 1000):
                continue
            try:
                messages = receiver.receive()
            except OSError:
                return
            if messages is None:
                return
            for message in messages:
                match message:
                    case Recall():
                        self._worker.give_back()
                    case Interrupt(task_id):
                        self.interrupt(task_id)

    def interrupt(self, task_id: TaskId) -> None:
        """Drop a task that has not started; raise KeyboardInterrupt in one that has, from now on.

        If the task has ended there is nothing to do, if it is still on its way here it is dropped
        as it comes.
        """
        worker, shelter = self._worker, self._worker.shelter
        if worker.drop_unstarted(task_id):
            return
        # Before anything else, so that whoever begins to run it now finds it.
        shelter.wanted.append(task_id)
        if worker.interrupt_call(task_id):
            shelter.take(task_id)
            return
        worker.link.wake()  # it may wait in our code, where no interrupt strikes
        self._pauses = itertools.chain(_PAUSES, itertools.repeat(_LONGEST_PAUSE))

    def _strike(self) -> float | None:
        """Send the signal if the task that runs is wanted; return after which pause to do so again.

        None if there is nothing to do.
        """
        running = self._worker.running
        if not running or running not in self._worker.shelter.wanted:
            return None
        signal.pthread_kill(self._main_thread, signal.SIGINT)
        return next(self._pauses)
