"""The driver's side of one worker."""

from __future__ import annotations

import os
import signal
import socket
from collections import Counter
from contextlib import ExitStack
from typing import Any, Final

from flame_remote._ids import ActorId, ObjectId, WorkerId

from ._linux import memory_file
from .channel import Receiver, Sender
from .exit_status import in_words
from .messages import Message
from .output_pipe import OutputPipe

_LAST_WORDS_BYTES: Final = 64 * 1024  # faulthandler's stacks of all threads; cut off beyond
_PACKAGE: Final = f"{os.sep}flame_remote{os.sep}"
_BOOTSTRAP: Final = '  File "<string>", line 1 in <module>'  # of the spawner's command line


class WorkerHandle:
    """Connections to a worker process, and what it knows and holds. Used inside a turn only."""

    def __init__(self, worker_id: WorkerId, actor_id: ActorId) -> None:
        """Make the connections. `theirs` must be sent to the new process, then closed.

        Raises OSError (EMFILE), and has then left nothing open.
        """
        # Constant after construction.
        self.id = worker_id
        self.actor_id = actor_id
        self.theirs: list[int] = []
        with ExitStack() as undo:
            undo.callback(self.close_theirs)
            self.channel = self._make_socket(undo)
            self.control = self._make_socket(undo)
            self.output = self._make_pipe(undo, is_error=False)
            self.errors = self._make_pipe(undo, is_error=True)
            self._last_words = memory_file("flame-last-words", _LAST_WORDS_BYTES)
            undo.callback(os.close, self._last_words)
            self.theirs.append(os.dup(self._last_words))
            undo.pop_all()
        self.receiver = Receiver(self.channel)
        self._sender = Sender(self.channel)
        self._control_sender = Sender(self.control)
        # Changing.
        self.pid = 0
        self.targets: set[int] = set()  # whose code it has
        self.path: list[str] | None = None  # the sys.path it heard of last
        self.segments: set[int] = set()
        self.held: set[ObjectId] = set()
        self.pinned: Counter[ObjectId] = Counter()
        self.exported: dict[int, Any] = {}  # targets that its tasks call, by id
        self.requests: dict[int, Any] = {}
        self.reserved_bytes = 0
        self.status: int | None = None  # as os.waitpid gives it, once it has ended
        self.peak_bytes = 0
        self.memory_note = ""  # how that compares with what it was allowed
        # Of what is watched: how much it may grow, and by how much it had when last looked at.
        self.memory_limit = 0
        self.memory_grown = 0
        self.why = ""  # it was ended by us, or could not be started
        self.is_heard = True  # until what it sends is of no use any more

    def _make_socket(self, undo: ExitStack) -> socket.socket:
        ours, theirs = socket.socketpair()
        undo.callback(ours.close)
        self.theirs.append(theirs.detach())
        ours.setblocking(False)
        return ours

    def _make_pipe(self, undo: ExitStack, *, is_error: bool) -> OutputPipe:
        ours, theirs = os.pipe2(os.O_CLOEXEC)
        self.theirs.append(theirs)
        pipe = OutputPipe(ours, is_error=is_error)
        undo.callback(pipe.close)
        return pipe

    def close_theirs(self) -> None:
        """Close this process's copies of the worker's ends."""
        while self.theirs:
            os.close(self.theirs.pop())

    def send(self, message: Message, descriptors: list[int] | None = None) -> bool:
        """Send a message, or keep it until the channel takes it. Returns False if some is kept."""
        self._sender.send(message, descriptors or ())
        return not self._sender.is_clogged

    def send_control(self, message: Message) -> None:
        """Send a message that is read even while a task runs."""
        self._control_sender.send(message)

    def flush(self) -> bool:
        """Send what was kept, as far as possible. Returns False if some is still kept."""
        self._sender.flush()
        return not self._sender.is_clogged

    def how_it_ended(self) -> str:
        """Say in words how the process ended: "was killed by signal 9 (SIGKILL)"."""
        if self.why:
            return self.why
        if self.status is None:
            return "could not be started"
        how = in_words(self.status)
        if not os.WIFSIGNALED(self.status):
            return f"{how} and without a result"
        if os.WTERMSIG(self.status) == signal.SIGKILL and self.peak_bytes:  # for want of memory?
            how += f", having used {self.peak_bytes >> 20} MiB at most{self.memory_note}"
        return how

    def last_output(self) -> str:
        """Return what the process wrote last, and where it was if it crashed."""
        written, _, _ = os.pread(self._last_words, _LAST_WORDS_BYTES, 0).partition(b"\0")
        words = written.decode("utf-8", "replace")
        _, _, stack = words.partition("(most recent call first):\n")
        if "Current thread" in words:
            _, _, stack = words.partition("Current thread")[2].partition("\n")
        lines = [line for line in stack.splitlines() if line.startswith("  File")]
        users = [line for line in lines if _PACKAGE not in line and line != _BOOTSTRAP]
        return "\n".join([part for part in (self.errors.tail(), "\n".join(users)) if part])

    def close(self) -> None:
        """Close all connections."""
        os.close(self._last_words)
        self.receiver.close()
        self.channel.close()
        self.control.close()
        self.output.close()
        self.errors.close()
        self.close_theirs()
