"""The worker processes: started through the spawner, listened to, and missed when they are gone."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from flame_remote._ids import WorkerId
from flame_remote._scheduling import commands, events

from .messages import Interrupt, Recall, Stop
from .progress import Progress
from .spawning import SpawnerHandle
from .workers import OutputPipe, WorkerHandle

if TYPE_CHECKING:
    from .core import Core

# How long the processes may take to end by themselves when the engine is closed.
_GRACE_SECONDS: Final = 2.0


class Crew:
    """All workers of the session. Inside a turn, unless a method says otherwise."""

    def __init__(
        self, core: Core, session: str, resources: Mapping[str, float], spawner: SpawnerHandle
    ) -> None:
        # Constant after construction.
        self._core = core
        self._session = session
        self._resources = resources
        self.progress = Progress()
        # Changing.
        self.workers: dict[WorkerId, WorkerHandle] = {}
        self._spawner: SpawnerHandle | None = None
        self._printed: deque[tuple[OutputPipe, str]] = deque()  # taken outside a turn
        self._use_spawner(spawner)

    def print_output(self) -> None:
        """Print what workers have printed. May block: outside a turn, in any thread."""
        while self._printed:
            pipe, text = self._printed.popleft()
            pipe.print(text)

    def send(
        self, worker: WorkerHandle, message: Any, descriptors: list[int] | None = None
    ) -> None:
        """Send a worker a message; if its channel is full, when it takes more."""
        if not worker.send(message, descriptors):
            self._core.poller.want_write(worker.channel.fileno(), True)

    def start_worker(self, command: commands.StartWorker) -> None:
        """Start a process, and connect it."""
        if self._spawner is None:
            self._start_spawner()
        assert self._spawner is not None
        self.progress.reset(command.worker_id)
        worker = WorkerHandle(command.worker_id, command.actor_id)
        worker.path = None
        self.workers[worker.id] = worker
        self._spawner.start_worker(worker.id, worker.theirs)
        worker.close_theirs()
        self._core.poller.register(worker.channel.fileno(), partial(self._on_channel, worker))
        for pipe in (worker.output, worker.errors):
            self._core.poller.register(pipe.descriptor, partial(self._on_output, worker, pipe))

    def _start_spawner(self) -> None:
        self._use_spawner(SpawnerHandle())

    def _use_spawner(self, spawner: SpawnerHandle) -> None:
        self._spawner = spawner
        # As many workers as CPUs run at a time: each has one.
        spawner.configure(self._session, self._resources, 1, self.progress.descriptor)
        self._core.poller.register(self._spawner.connection.fileno(), self._on_spawner)

    def stop_worker(self, command: commands.StopWorker) -> None:
        """Let a worker end by itself."""
        worker = self.workers.get(command.worker_id)
        if worker is not None:
            self.send(worker, Stop())

    def kill_worker(self, command: commands.KillWorker) -> None:
        """End a worker at once."""
        if self._spawner is not None and command.worker_id in self.workers:
            self._spawner.kill_worker(command.worker_id)

    def recall(self, command: commands.RecallTasks) -> None:
        """Ask for results, and for what has not started."""
        self.workers[command.worker_id].send_control(Recall())

    def interrupt(self, command: commands.InterruptTask) -> None:
        """Ask for the end of one task."""
        self.workers[command.worker_id].send_control(Interrupt(command.task_id))

    def _on_channel(self, worker: WorkerHandle, ready: int) -> None:
        if worker.flush():
            self._core.poller.want_write(worker.channel.fileno(), False)
        self._receive_from(worker)

    def _receive_from(self, worker: WorkerHandle) -> bool:
        """Take in what a worker has sent; False when there is nothing, or nothing more."""
        try:
            messages = worker.receiver.receive()
        except BlockingIOError:
            return False
        except (ValueError, OSError):
            messages = None
        if messages is None:
            # Its end is not told by this but by the spawner, with how it ended. A worker that
            # writes nonsense has lost its mind: nothing that it says counts any more.
            self._core.poller.unregister(worker.channel.fileno())
            if self._spawner is not None:
                self._spawner.kill_worker(worker.id)
            return False
        for message in messages:
            self._core.inbound.handle(worker, message)
        if self._core.ref_events or self._core.inbox:
            self._core.drain()
        return True

    def _on_output(self, worker: WorkerHandle, pipe: OutputPipe, ready: int) -> None:
        text = pipe.pass_on()
        if text is None:
            self._core.poller.unregister(pipe.descriptor)
        elif text:
            self._printed.append((pipe, text))

    def _on_spawner(self, ready: int) -> None:
        spawner = self._spawner
        if spawner is None:
            return
        answers = spawner.receive()
        if answers is None:
            self._spawner_lost(spawner)
            return
        for answer in answers:
            worker = self.workers.get(answer["worker"])
            if worker is None:
                continue
            if answer["is"] == "started":
                worker.pid = answer["pid"]
            else:
                worker.status = answer["status"]
                worker.peak_bytes = answer.get("peak_bytes", 0)
                self._worker_lost(worker)

    def _spawner_lost(self, spawner: SpawnerHandle) -> None:
        """The spawner is gone, and so all workers: they die with it."""
        self._core.poller.unregister(spawner.connection.fileno())
        self._spawner = None
        spawner.close(_GRACE_SECONDS)
        for worker in list(self.workers.values()):
            worker.status = 9
            self._worker_lost(worker)

    def _worker_lost(self, worker: WorkerHandle) -> None:
        while self._receive_from(worker):
            pass  # what it had sent counts
        self._take_last_output(worker)
        self._core.endings.worker_lost(worker)
        started = self.progress.last_started(worker.id)
        decided = self._core.decide(events.WorkerLost(worker.id, started))
        # Its end is written into errors before it is forgotten; new workers do not concern it.
        self._core.perform(decided)
        self._forget(worker)
        self._core.settle_requests()

    def _forget(self, worker: WorkerHandle) -> None:
        del self.workers[worker.id]
        for descriptor in (
            worker.channel.fileno(),
            worker.output.descriptor,
            worker.errors.descriptor,
        ):
            self._core.poller.unregister(descriptor)
        worker.close()
        for request in worker.requests.values():
            request.queued = True  # nobody is left to be answered
            request.forget(self._core.objects)
        for object_id, number in worker.pinned.items():
            for _ in range(number):
                self._core.objects.unpin(object_id)
        self._core.objects.release(worker.held)
        for target in worker.exported.values():
            self._core.objects.release(ref._id for ref in target.refs)
        self._core.segments.owner_lost(worker.id, worker.reserved_bytes)

    def close(self) -> None:
        """End all processes: idle ones by themselves, the others at once."""
        idle = []
        for worker in self.workers.values():
            record = self._core.scheduler.workers.get(worker.id)
            if record is None or not record.assigned:
                idle.append(worker.id)
                self.send(worker, Stop())
        spawner, self._spawner = self._spawner, None
        if spawner is not None:
            self._core.poller.unregister(spawner.connection.fileno())
            spawner.end(idle)
            spawner.close(_GRACE_SECONDS)
        for worker in self.workers.values():
            self._take_last_output(worker)
            worker.close()
        self.workers.clear()
        self.progress.close()

    def _take_last_output(self, worker: WorkerHandle) -> None:
        for pipe in (worker.output, worker.errors):
            while text := pipe.pass_on():
                self._printed.append((pipe, text))
