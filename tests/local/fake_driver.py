"""The driver's end of a worker's channel, for a worker that lives in the test's own process."""

from __future__ import annotations

import os
import pickle
import socket
import sys
import threading
from collections import Counter
from collections.abc import Callable
from typing import Any

from flame_remote._local.arena import Arena, Extent
from flame_remote._local.channel import Receiver
from flame_remote._local.journal import JOURNAL_BYTES, Journal
from flame_remote._local.link import Link
from flame_remote._local.messages import (
    Abandon,
    Cancel,
    Counts,
    Fetch,
    Granted,
    LoadTarget,
    Message,
    Ready,
    Reserve,
    Results,
    RunTasks,
    Segment,
    Stop,
    TaskEntry,
    Values,
    Watch,
    encode,
)
from flame_remote._local.nested import WorkerEngine
from flame_remote._local.stored_value import measure, write
from flame_remote._local.worker import Worker
from flame_remote._outcome import Kind
from flame_remote._refs import ObjectRef

# Objects that the driver knows. One cannot be rebuilt, one will not be there by itself.
SMALL, LARGE, BROKEN, NEVER = 1, 2, 3, 4


class Broken:
    """Cannot be rebuilt: it wants to exit instead."""

    def __reduce__(self) -> Any:
        return sys.exit, (3,)


class WorkerBesideDriver:
    """A worker whose main thread is the test's, and a driver that answers it, as far as it can."""

    def __init__(self) -> None:
        ours, theirs = socket.socketpair()
        self._connection = ours
        self.channel = theirs
        self.link = Link(theirs, Journal(memoryview(bytearray(JOURNAL_BYTES))))
        self.worker = Worker(7, self.link, memoryview(bytearray(8)).cast("Q"))
        self.engine = WorkerEngine("session", self.worker, {"CPU": 2.0})
        # Guarded by self._changed.
        self._changed = threading.Condition()
        self.results: dict[int, Kind] = {}
        self.pins: Counter[int] = Counter()  # of objects that were sent and are still being read
        self.waiting: dict[int, Message] = {}  # requests that are not answered yet
        self.abandoned: dict[int, Message] = {}
        self.asked = 0  # so many requests have come
        self._arena = Arena(0, lambda size: None, self._announce)
        self._large = self._store(bytearray(1 << 20))
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def ref(self, object_id: int) -> ObjectRef[Any]:
        """Return a ref of the worker's to an object that the driver knows."""
        self.link.counts.own(object_id)
        return ObjectRef(object_id, self.engine)

    def entry(
        self, task_id: int, function: Callable[..., Any], *, large: bool = False
    ) -> TaskEntry:
        """Return a task as the worker gets it, perhaps with a large argument."""
        name = function.__name__
        target = LoadTarget(abs(hash(name)), "function", name, pickle.dumps(function), 1, None)
        self.worker.load_target(target)
        if not large:
            return (task_id, target.target_id, (), (), False)
        with self._changed:
            self.pins[LARGE] += 1
        return (task_id, target.target_id, (None,), ((0, LARGE, 3, self._large),), False)

    def help_with(self, entry: TaskEntry) -> None:
        """Send a task to be run on top of the one that waits."""
        self._connection.sendall(encode(RunTasks(True, [entry])))

    def wait_for(self, condition: Callable[[WorkerBesideDriver], bool]) -> None:
        """Block until the driver has heard what makes the condition true."""
        with self._changed:
            assert self._changed.wait_for(lambda: condition(self), 20)

    def flush(self) -> None:
        """Send all that the worker has to say, and wait until it was heard."""
        self.link.flush()
        self.engine.is_done(self.ref(SMALL))

    def stop(self) -> None:
        """Tell the worker to end once it has nothing to do."""
        self._connection.sendall(encode(Stop()))

    def answer_all(self) -> None:
        """Answer what waits, as if the objects had come."""
        with self._changed:
            for request, message in self.waiting.items():
                self._answer(request, message)
            self.waiting.clear()

    def answer_last(self) -> None:
        """Answer what was asked last."""
        with self._changed:
            self._answer(*self.waiting.popitem())

    def answer_abandoned(self) -> None:
        """Answer what nobody waits for any more, as if that were not known yet."""
        with self._changed:
            for request, message in self.abandoned.items():
                self._answer(request, message)
            self.abandoned.clear()

    def close(self) -> None:
        """End both, and all descriptors."""
        self._connection.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self.engine.runner.close()
        self.engine.storage.close()
        self.worker.mappings.close()
        self.link.close()
        self.channel.close()
        self._connection.close()
        self._arena.close()

    # --- the driver ---------------------------------------------------------------------

    def _announce(self, segment: int, descriptor: int) -> None:
        socket.send_fds(self._connection, [encode(Segment(segment), 1)], [descriptor])

    def _store(self, value: bytearray) -> tuple[int, int, int, None]:
        buffers: list[pickle.PickleBuffer] = []
        data = pickle.dumps(pickle.PickleBuffer(value), 5, buffer_callback=buffers.append)
        extent: Extent = self._arena.allocate(measure(data, buffers))
        write(self._arena.view(extent), data, buffers)
        return extent.segment, extent.offset, extent.size, None

    def _serve(self) -> None:
        receiver = Receiver(self._connection)
        while (messages := receiver.receive()) is not None:
            with self._changed:
                for message in messages:
                    self._take(receiver, message)
                self._changed.notify_all()

    def _take(self, receiver: Receiver, message: Message) -> None:
        match message:
            case Results(results, _):
                for task_id, kind, _, _ in results:
                    assert task_id not in self.results
                    self.results[task_id] = Kind(kind)
            case Counts(_, _, unpinned):
                self.pins.subtract(unpinned)
            case Fetch() | Watch():
                self.asked += 1
                if NEVER in message.object_ids and getattr(message, "num_returns", 1):
                    self.waiting[message.request_id] = message
                else:
                    self._answer(message.request_id, message)
            case Abandon(request):
                if request in self.waiting:
                    self.abandoned[request] = self.waiting.pop(request)
            case Reserve(request, _) | Cancel(request, _, _):
                if request:
                    self._connection.sendall(encode(Granted(request, True, 1 << 40)))
            case Segment():
                os.close(receiver.descriptors.popleft())

    def _answer(self, request: int, message: Message) -> None:
        object_ids: list[int] = message[2]
        if isinstance(message, Watch):
            self._connection.sendall(encode(Ready(request, object_ids)))
            return
        values: list[tuple[int, int, Any]] = []
        for object_id in object_ids:
            if object_id == LARGE:
                self.pins[LARGE] += 1
                values.append((LARGE, int(Kind.STORED), self._large))
            else:
                value = Broken() if object_id == BROKEN else [object_id]
                values.append((object_id, int(Kind.PICKLED), pickle.dumps(value)))
        self._connection.sendall(encode(Values(request, values, False)))
