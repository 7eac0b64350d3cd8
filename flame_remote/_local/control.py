"""What the driver wants of a worker while a task runs: a thread reads the control socket."""

from __future__ import annotations

import signal
import socket
import threading
import time
from typing import Final

from flame_remote._ids import TaskId

from .channel import Receiver
from .messages import Interrupt, Recall
from .worker import Worker

# A signal that comes after Python has looked for one and before a system call begins does not end
# that call, so it is sent again after these pauses unless its handler has run.
_INTERRUPT_AGAIN_SECONDS: Final = (0.0005, 0.005, 0.05)


class Control:
    """Gives unstarted tasks back, and cancels one, in a thread of its own."""

    def __init__(self, worker: Worker, connection: socket.socket) -> None:
        # Constant after construction.
        self._worker = worker
        self._connection = connection

    def start(self) -> None:
        """Listen from now on, until the driver is gone."""
        threading.Thread(target=self._listen, name="flame-control", daemon=True).start()

    def _listen(self) -> None:
        receiver = Receiver(self._connection)
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
                        self._worker.give_back()
                    case Interrupt(task_id):
                        self.interrupt(task_id)

    def interrupt(self, task_id: TaskId) -> None:
        """Drop a task that has not started, or raise KeyboardInterrupt in it."""
        worker, shelter = self._worker, self._worker.shelter
        if worker.drop_unstarted(task_id):
            return
        # It runs, or has ended, or is still on its way here: then it is dropped as it comes. Noted
        # before anything else, so that whoever begins to run it now finds it.
        shelter.wanted.append(task_id)
        if worker.interrupt_call(task_id):
            shelter.take(task_id)
            return
        worker.link.wake()  # it may wait in our code, where no interrupt strikes
        shelter.has_heard = False
        main = threading.main_thread().ident
        for patience in _INTERRUPT_AGAIN_SECONDS:
            if worker.running != task_id or shelter.has_heard or main is None:
                break
            signal.pthread_kill(main, signal.SIGINT)
            time.sleep(patience)
