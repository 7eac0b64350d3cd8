"""The driver's side of one worker."""

from __future__ import annotations

import os
import signal
import socket
import sys
from collections import Counter, deque
from contextlib import suppress
from typing import Any, Final

from flame_remote._ids import ActorId, ObjectId, WorkerId

from ._linux import memory_file
from .channel import Receiver, Sender
from .messages import Message

_TAIL_BYTES: Final = 4096
_LAST_WORDS_BYTES: Final = 64 * 1024  # faulthandler's stacks of all threads; cut off beyond
_PACKAGE: Final = f"{os.sep}flame_remote{os.sep}"
_BOOTSTRAP: Final = '  File "<string>", line 1 in <module>'  # of the spawner's command line


class WorkerHandle:
    """Connections to a worker process, and what it knows and holds. Used inside a turn only."""

    def __init__(self, worker_id: WorkerId, actor_id: ActorId) -> None:
        """Make the connections. `theirs` must be sent to the new process, then closed."""
        # Constant after construction.
        self.id = worker_id
        self.actor_id = actor_id
        self.channel, channel = socket.socketpair()
        self.control, control = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        self.channel.setblocking(False)
        self.control.setblocking(False)
        output, their_output = os.pipe2(os.O_CLOEXEC)
        errors, their_errors = os.pipe2(os.O_CLOEXEC)
        os.set_blocking(output, False)
        os.set_blocking(errors, False)
        self._last_words = memory_file("flame-last-words", _LAST_WORDS_BYTES)
        their_words = os.dup(self._last_words)
        self.theirs = [channel.detach(), control.detach(), their_output, their_errors, their_words]
        self.output = OutputPipe(output, is_error=False)
        self.errors = OutputPipe(errors, is_error=True)
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
        status = self.status
        if status is None:
            return "could not be started"
        if os.WIFSIGNALED(status):
            number = os.WTERMSIG(status)
            try:
                name = f" ({signal.Signals(number).name})"
            except ValueError:
                name = ""
            return f"was killed by signal {number}{name}"
        return f"exited with code {os.WEXITSTATUS(status)} and without a result"

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


class OutputPipe:
    """What a worker prints: passed on to this process's own stream, and the end of it kept."""

    def __init__(self, descriptor: int, *, is_error: bool) -> None:
        self.descriptor = descriptor
        self._is_error = is_error
        self._tail: deque[bytes] = deque()
        self._tail_bytes = 0

    def pass_on(self) -> str | None:
        """Return what there is to be printed; None at the end. Never blocks."""
        try:
            data = os.read(self.descriptor, 65536)
        except BlockingIOError:
            return ""
        if not data:
            return None
        self._tail.append(data)
        self._tail_bytes += len(data)
        while self._tail_bytes - len(self._tail[0]) > _TAIL_BYTES:
            self._tail_bytes -= len(self._tail.popleft())
        return data.decode("utf-8", "replace")

    def print(self, text: str) -> None:
        """Write to this process's own stream. May block; outside a turn."""
        stream = sys.stderr if self._is_error else sys.stdout
        with suppress(OSError, ValueError, AttributeError):  # closed, or there is none
            stream.write(text)
            stream.flush()

    def tail(self) -> str:
        """Return the last lines."""
        text = b"".join(self._tail)[-_TAIL_BYTES:].decode("utf-8", "replace")
        return text.strip("\n")

    def close(self) -> None:
        os.close(self.descriptor)
