"""The yardstick: a pool of forked workers as a careful person would write it in an afternoon.

It shows what the machine and the language allow, so that flame_remote's figures can be read as a
share of the possible. It has none of the duties of a real engine: no retries, no cancel, no
references, no store, no supervision; and arguments are pickled some time after the call, so the
caller must not change them.

Calls travel in batches, one message each way per batch:

    caller -> worker   u64 length, pickle of (batch number, [(function, arguments), ...])
    worker -> caller   u64 length, pickle of (batch number, [value, ...], {index: exception})

Two variants. `Prototype`: the caller does its own sends and receives, inside `submit` and `get`.
`ThreadedPrototype`: an I/O thread does both, the caller only queues and waits.
"""

from __future__ import annotations

import os
import pickle
import select
import signal
import socket
import struct
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any, Final

# Larger batches pickle no faster per call; smaller ones cost a system call more often.
BATCH_CALLS: Final = 100
RECEIVE_BYTES: Final = 1 << 18
# A larger buffer spares the sender a trip through `poll` for a batch or two; the system may cap it.
SOCKET_BUFFER_BYTES: Final = 1 << 20
LENGTH: Final = struct.Struct("<Q")

Call = tuple[Callable[..., Any], tuple[Any, ...]]


class Ref:
    """The place where one call's outcome will be."""

    __slots__ = ("done", "error", "value", "waiter")

    def __init__(self) -> None:
        self.done = False
        self.error: BaseException | None = None
        self.value: Any = None
        self.waiter: threading.Lock | None = None  # the threaded variant's sleeping caller


class Connection:
    """One end of a socketpair that carries length-prefixed pickles. Belongs to one thread."""

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        for option in (socket.SO_SNDBUF, socket.SO_RCVBUF):
            sock.setsockopt(socket.SOL_SOCKET, option, SOCKET_BUFFER_BYTES)
        self.sock = sock
        # One buffer for good. A new one for each message is given back to the system and faulted in
        # again each time, or not, as the heap happens to lie: 50 us for a lone call, or 20.
        self._buffer = memoryview(bytearray(RECEIVE_BYTES))
        self._received = bytearray()  # the beginning of a message whose end is still to come
        self._outbox: deque[memoryview] = deque()

    def fileno(self) -> int:
        return self.sock.fileno()

    @property
    def has_unsent(self) -> bool:
        return bool(self._outbox)

    def queue(self, message: Any) -> None:
        """Pickle `message` and send what the socket takes now; `flush` sends the rest."""
        payload = pickle.dumps(message, pickle.HIGHEST_PROTOCOL)
        self._outbox.append(memoryview(LENGTH.pack(len(payload)) + payload))
        self.flush()

    def flush(self) -> None:
        """Send what the socket takes now. Never blocks."""
        while self._outbox:
            part = self._outbox[0]
            try:
                sent = self.sock.send(part)
            except BlockingIOError:
                return
            if sent == len(part):
                self._outbox.popleft()
            else:
                self._outbox[0] = part[sent:]

    def receive(self) -> list[Any]:
        """Return the messages that are complete by now, perhaps none. Never blocks.

        Raises EOFError when the other side has closed.
        """
        try:
            size = self.sock.recv_into(self._buffer)
        except BlockingIOError:
            return []
        except ConnectionResetError:
            size = 0
        if not size:
            raise EOFError("the other side has closed")
        data = self._buffer[:size]
        if not self._received and size == LENGTH.size + LENGTH.unpack_from(data)[0]:
            return [pickle.loads(data[LENGTH.size :])]  # the common case: one whole message
        self._received += data
        return list(self._take_messages())

    def _take_messages(self) -> Iterable[Any]:
        start = 0
        while len(self._received) - start >= LENGTH.size:
            (size,) = LENGTH.unpack_from(self._received, start)
            end = start + LENGTH.size + size
            if len(self._received) < end:
                break
            with memoryview(self._received) as view, view[start + LENGTH.size : end] as payload:
                message = pickle.loads(payload)
            yield message
            start = end
        del self._received[:start]


def run_batch(calls: list[Call]) -> tuple[list[Any], dict[int, BaseException]]:
    """Run the calls in order; return values, None where one raised, and exceptions by index."""
    values: list[Any] = []
    errors: dict[int, BaseException] = {}
    for function, arguments in calls:
        try:
            values.append(function(*arguments))
        except Exception as error:
            errors[len(values)] = error
            values.append(None)
    return values, errors


def serve(connection: Connection, spin_s: float) -> None:
    """Be a worker: run batches in order of arrival until the caller closes."""
    while True:
        wait_readable([connection], spin_s)
        for batch_number, calls in connection.receive():
            connection.queue((batch_number, *run_batch(calls)))
            while connection.has_unsent:
                select.select([], [connection], [])
                connection.flush()


def wait_readable(connections: list[Connection], spin_s: float) -> list[Connection]:
    """Return the connections that can be read; ask again for `spin_s` seconds before sleeping."""
    if spin_s:
        end = time.perf_counter() + spin_s
        while time.perf_counter() < end:
            if ready := select.select(connections, [], [], 0)[0]:
                return ready
            # Both sides may be on one core, where a spin keeps the other from answering: without
            # this a lone call takes 17 us or 220, as the system's scheduler places the two.
            os.sched_yield()
    return select.select(connections, [], [])[0]


class Worker:
    """The caller's view of one forked worker."""

    def __init__(self, spin_s: float, others: Iterable[Worker]) -> None:
        ours, theirs = socket.socketpair()
        not_the_workers = [ours, *(other.connection.sock for other in others)]
        self.pid = os.fork()
        if self.pid == 0:
            self._be_the_worker(theirs, not_the_workers, spin_s)
        theirs.close()
        self.connection: Connection = Connection(ours)
        self.unanswered = 0  # batches

    @staticmethod
    def _be_the_worker(
        sock: socket.socket, not_mine: Iterable[socket.socket], spin_s: float
    ) -> None:
        status = 1
        try:
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            for other in not_mine:
                other.close()
            serve(Connection(sock), spin_s)
        except EOFError:
            status = 0
        finally:
            os._exit(status)

    def close(self) -> None:
        self.connection.sock.close()
        os.kill(self.pid, signal.SIGTERM)  # it may be busy with a batch that nobody waits for
        os.waitpid(self.pid, 0)


class Pool:
    """What both variants share: workers, and which batch is where. The I/O thread's, if any."""

    def __init__(self, num_workers: int, spin_s: float) -> None:
        self.workers: list[Worker] = []
        for _ in range(num_workers):
            self.workers.append(Worker(spin_s, self.workers))
        self._batches: dict[int, tuple[Worker, list[Ref]]] = {}
        self._next_batch = 0

    def send(self, calls: list[Call], refs: list[Ref]) -> None:
        """Hand the calls to the worker with the fewest unanswered batches. Never blocks."""
        worker = min(self.workers, key=lambda worker: worker.unanswered)
        worker.unanswered += 1
        self._batches[self._next_batch] = (worker, refs)
        worker.connection.queue((self._next_batch, calls))
        self._next_batch += 1

    def receive(self, worker: Worker) -> None:
        """Fill in the refs of the batches that the worker has answered by now. Never blocks."""
        for batch_number, values, errors in worker.connection.receive():
            worker.unanswered -= 1
            _, refs = self._batches.pop(batch_number)
            for index, error in errors.items():
                refs[index].error = error
            for ref, value in zip(refs, values, strict=True):
                ref.value = value
                ref.done = True
                if ref.waiter is not None:
                    ref.waiter.release()

    def close(self) -> None:
        for worker in self.workers:
            worker.close()


def outcome(ref: Ref) -> Any:
    """Return the value of a ref that is done, or raise its exception."""
    if ref.error is not None:
        raise ref.error
    return ref.value


class Prototype:
    """The variant without a thread.

    A call for an idle worker leaves at once, others when a batch is full or in `get`.

    Args:
        num_workers: forked processes.
        spin_s: how long both sides ask for a message before they sleep; 0 sleeps at once.
    """

    def __init__(self, num_workers: int = 2, spin_s: float = 0.0) -> None:
        self._spin_s = spin_s
        self._pool = Pool(num_workers, spin_s)
        self._calls: list[Call] = []
        self._refs: list[Ref] = []
        self._idle_workers = num_workers  # as of the last receive

    def submit(self, function: Callable[..., Any], *arguments: Any) -> Ref:
        ref = Ref()
        self._calls.append((function, arguments))
        self._refs.append(ref)
        if self._idle_workers or len(self._calls) == BATCH_CALLS:
            self._send_batch()
        return ref

    def get(self, refs: Iterable[Ref]) -> list[Any]:
        """Return the values in order, or raise the first exception met."""
        if self._calls:
            self._send_batch()
        values = []
        for ref in refs:
            while not ref.done:
                self._receive_some()
            values.append(outcome(ref))
        return values

    def close(self) -> None:
        self._pool.close()

    def _send_batch(self) -> None:
        self._pool.send(self._calls, self._refs)
        self._calls, self._refs = [], []
        self._idle_workers = sum(not worker.unanswered for worker in self._pool.workers)

    def _receive_some(self) -> None:
        """Wait until something is received; meanwhile send what the sockets did not take yet."""
        workers = self._pool.workers
        unsent = [worker for worker in workers if worker.connection.has_unsent]
        if unsent:
            everyone = [worker.connection for worker in workers]
            readable, writable, _ = select.select(everyone, [w.connection for w in unsent], [])
            for connection in writable:
                connection.flush()
        else:
            busy = [worker.connection for worker in workers if worker.unanswered]
            readable = wait_readable(busy, self._spin_s)
        for worker in workers:
            if worker.connection in readable:
                self._pool.receive(worker)
        self._idle_workers = sum(not worker.unanswered for worker in workers)


class ThreadedPrototype:
    """The variant with an I/O thread: calls leave by themselves, a lone one pays thread hops."""

    def __init__(self, num_workers: int = 2) -> None:
        # Constant after construction.
        self._pool = Pool(num_workers, spin_s=0.0)  # the I/O thread's once it runs
        self._wake_reader, self._wake_writer = socket.socketpair()
        # Appended by callers, taken by the I/O thread; a deque's ends are safe to use from both.
        self._queue: deque[tuple[Call, Ref]] = deque()
        # Written by both: True announces that the I/O thread may sleep and must be woken by a byte.
        self._asleep = False
        self._closing = False
        self._thread = threading.Thread(target=self._do_io, name="prototype-io", daemon=True)
        self._thread.start()

    def submit(self, function: Callable[..., Any], *arguments: Any) -> Ref:
        ref = Ref()
        self._queue.append(((function, arguments), ref))
        if self._asleep:
            self._wake()
        return ref

    def get(self, refs: Iterable[Ref]) -> list[Any]:
        """Return the values in order, or raise the first exception met."""
        values = []
        for ref in refs:
            if not ref.done:
                wait_done(ref)
            values.append(outcome(ref))
        return values

    def close(self) -> None:
        self._closing = True
        self._wake()
        self._thread.join()
        self._pool.close()
        self._wake_reader.close()
        self._wake_writer.close()

    def _wake(self) -> None:
        self._asleep = False
        self._wake_writer.send(b"\0")

    def _do_io(self) -> None:
        workers = self._pool.workers
        while not self._closing:
            self._send_queued()
            # 1. announce sleep  2. look at the queue again  3. sleep. A caller appends, then looks
            # at the announcement: whichever comes second sees the other.
            self._asleep = True
            timeout = 0 if self._queue else None
            unsent = [worker.connection for worker in workers if worker.connection.has_unsent]
            sources: list[socket.socket | Connection] = [self._wake_reader]
            sources += [worker.connection for worker in workers]
            readable, writable, _ = select.select(sources, unsent, [], timeout)
            self._asleep = False
            if self._wake_reader in readable:
                self._wake_reader.recv(4096)
            for connection in writable:
                connection.flush()
            for worker in workers:
                if worker.connection in readable:
                    self._pool.receive(worker)

    def _send_queued(self) -> None:
        """Send all that is queued, in batches."""
        while self._queue:
            batch = [self._queue.popleft() for _ in range(min(len(self._queue), BATCH_CALLS))]
            self._pool.send([call for call, _ in batch], [ref for _, ref in batch])


def wait_done(ref: Ref) -> None:
    """Sleep until the I/O thread has filled in the ref."""
    waiter = threading.Lock()
    waiter.acquire()
    # 1. leave the lock  2. look again  3. sleep. The I/O thread sets `done`, then looks for it.
    ref.waiter = waiter
    if not ref.done:
        waiter.acquire()
