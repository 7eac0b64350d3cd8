"""A worker's end of its channel: what it tells the driver, and who reads what the driver says."""

from __future__ import annotations

import os
import select
import socket
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final

from flame_remote._deadline import Deadline

from .channel import Receiver
from .counts import LocalCounts
from .journal import Journal
from .limits import explain
from .messages import Message, ResultEntry, Results, encode
from .spin import AdaptiveSpin
from .turn import Turn

# Results of short tasks are sent together, but none waits longer than this for the next.
_RESULT_DELAY_SECONDS: Final = 0.001


class Link:
    """Sends and receives for all threads of a worker. Ends the process if the driver is gone.

    Safe to call from any thread; the main thread calls it sheltered (see Shelter).
    """

    def __init__(self, channel: socket.socket, journal: Journal) -> None:
        """Begin with a connected channel. `handle` must be set before anything is received."""
        # Constant after construction.
        self.descriptor = channel.fileno()
        self.turn = Turn()
        self.ref_events: deque[int] = deque()  # as Engine.ref_events
        self.handle: Callable[[Message], None]  # takes in a message, inside a turn
        # Tells an event loop that watches the channel too that another thread has received; written
        # by the main thread.
        self.tell_loop: Callable[[], object] | None = None
        self._channel = channel
        self._wakeup = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._poller = select.epoll()
        self._poller.register(channel, select.EPOLLIN)
        self._poller.register(self._wakeup, select.EPOLLIN)
        # Appended to and popped by any thread; a deque's methods are atomic.
        self.callbacks: deque[Callable[[], None]] = deque()  # to be run outside a turn
        # Results, for the next `flush`, each with what must live until then.
        self.outbox: deque[tuple[ResultEntry, Any]] = deque()
        # Main thread only, but that `flush` takes what is there.
        self._seconds: dict[int, tuple[int, float]] = {}  # calls and their time, by target
        self._unsent_since = 0.0
        # Guarded by self.turn.
        self._journal = journal
        self.counts = LocalCounts(self.ref_events)
        self._receiver = Receiver(channel)
        # Guarded by self._reading.
        self._reading = threading.Condition()
        self._has_reader = False
        self._followers = 0
        # Belongs to the thread that reads.
        self._spin = AdaptiveSpin()

    # --- sending ------------------------------------------------------------------------

    def end_task(self, entry: ResultEntry, keep: Any, started: float, target_id: int) -> None:
        """Add the result of a task of the main thread; send what has waited long enough."""
        now = time.perf_counter()
        calls, seconds = self._seconds.get(target_id, (0, 0.0))
        self._seconds[target_id] = (calls + 1, seconds + now - started)
        if not self.outbox:
            self._unsent_since = now
        self.outbox.append((entry, keep))
        if now - self._unsent_since > _RESULT_DELAY_SECONDS:
            self.flush()

    def keep_results(self) -> None:
        """Make sure that results not sent yet outlive this process. Main thread, before a task."""
        with self.turn:
            # Those before the last one were kept when it began; and it may just have been sent.
            if not self.outbox or self._journal.add(self.outbox[-1][0]):
                return
        self.flush()

    def send(self, message: Message, descriptors: list[int] | None = None) -> None:
        """Send one message, and before it whatever the driver must know first."""
        with self.turn:
            self.send_in_turn(message, descriptors)

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

    def flush(self) -> None:
        """Send all results and all changes of counts."""
        with self.turn:
            results: list[ResultEntry] = []
            keep: list[Any] = []
            kept: Any = None
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
                seconds, self._seconds = self._seconds, {}
                frames += encode(Results(results, seconds))
                # Refs that only the results kept die here. The driver has counted them by the time
                # it reads this; and if there is nothing to do now, nobody would tell it later.
                keep.clear()
                kept = None
                changes = self.counts.changes()
                if changes is not None:
                    frames += encode(changes)
            if frames:
                self._send_bytes(frames)
            self._journal.clear()

    def _send_bytes(self, frames: bytes) -> None:
        try:
            self._channel.sendall(frames)
        except OSError:
            os._exit(0)  # the driver is gone: nobody is left to work for

    # --- receiving ----------------------------------------------------------------------

    def pump_until(self, is_done: Callable[[], bool], deadline: Deadline) -> bool:
        """Take in messages until `is_done()`; False if the deadline passes first.

        One thread reads, others wait for what it reads. `is_done` may be asked by any of them; it
        is asked again after each message, and after `wake`. Blocks.
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
                if self.tell_loop is not None:
                    self.tell_loop()
            return True
        finally:
            with self._reading:
                self._has_reader = False
                self._reading.notify_all()

    def wake(self) -> None:
        """Make every `pump_until` ask again whether it is done."""
        os.eventfd_write(self._wakeup, 1)
        with self._reading:
            self._reading.notify_all()

    def receive_beside(self) -> None:
        """As `receive`, for an event loop that watches the channel as `pump_until` may do too."""
        self.receive()
        if self._has_reader:
            self.wake()

    def receive(self) -> None:
        """Take in what there is to receive, if anything. Never blocks."""
        with self.turn:
            try:
                messages = self._receiver.receive(socket.MSG_DONTWAIT)
                if messages is None:
                    os._exit(0)
                for message in messages:
                    self.handle(message)
            except BlockingIOError:
                return
            except ConnectionError:
                os._exit(0)
            except (
                OSError
            ) as error:  # a descriptor that came along was lost, and no one sends twice
                os.write(2, f"flame_remote: this worker must end: {explain(error)}\n".encode())
                os._exit(1)
        while self.callbacks:
            self.callbacks.popleft()()
        if self._followers:
            with self._reading:
                self._reading.notify_all()

    def take_descriptor(self) -> int:
        """Return the descriptor that came with the message that is being handled."""
        return self._receiver.descriptors.popleft()

    def close(self) -> None:
        """Close what this has made; the channel is its maker's."""
        self._poller.close()
        os.close(self._wakeup)
        self._receiver.close()

    def _wait_readable(self, deadline: Deadline) -> bool:
        """Look for a moment, then sleep, until there is something to receive, or `wake`."""
        until = self._spin.until()
        if until:
            poll = self._poller.poll
            while time.perf_counter() < until:
                if ready := poll(0):
                    self._spin.hit()
                    return self._take_wakeup(ready)
                os.sched_yield()
            self._spin.miss()
        ready = self._poller.poll(deadline.remaining())
        return bool(ready) and self._take_wakeup(ready)

    def _take_wakeup(self, ready: list[tuple[int, int]]) -> bool:
        if len(ready) > 1 or ready[0][0] == self._wakeup:
            with suppress(BlockingIOError):
                os.eventfd_read(self._wakeup)
        return True
