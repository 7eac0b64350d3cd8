"""The worker processes: started through the spawner, listened to, and missed when they are gone."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from flame_remote._ids import WorkerId
from flame_remote._scheduling import commands, events
from flame_remote.exceptions import WorkerStartError

from .exit_status import in_words, name_of
from .limits import explain
from .memory_ends import MemoryEnds
from .messages import Interrupt, NotAMessage, Recall, Results, Stop
from .output_pipe import OutputPipe
from .progress import Progress
from .spawning import SpawnerHandle
from .workers import WorkerHandle

if TYPE_CHECKING:
    from .core import Core

# How long the processes may take to end by themselves when the engine is closed.
_GRACE_SECONDS: Final = 2.0


class Crew:
    """All workers of the session. Inside a turn, unless a method says otherwise."""

    def __init__(
        self,
        core: Core,
        session: str,
        resources: Mapping[str, float],
        gpus: Sequence[str],
        spawner: SpawnerHandle,
    ) -> None:
        # Constant after construction.
        self._core = core
        self._session = session
        self._resources = resources
        self._gpus = gpus
        self.progress = Progress()
        self._memory = MemoryEnds()
        # Changing.
        self.workers: dict[WorkerId, WorkerHandle] = {}
        self.unstarted: deque[WorkerId] = deque()  # to be reported lost, once that can be done
        self._spawner: SpawnerHandle | None = None
        self._printed: deque[tuple[OutputPipe, str]] = deque()  # taken outside a turn
        try:
            self._use_spawner(spawner)
        except BaseException:
            self.progress.close()
            raise

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
        """Start a process, and connect it. If that is refused the worker is among `unstarted`."""
        try:
            self._start_worker(command)
        except (OSError, WorkerStartError) as error:
            self.progress.release(command.worker_id)
            reason = explain(error) if isinstance(error, OSError) else error.reason
            self._core.endings.start_refused(reason)
            self.unstarted.append(command.worker_id)

    def _start_worker(self, command: commands.StartWorker) -> None:
        spawner = self._spawner
        if spawner is None:
            spawner = SpawnerHandle()
            try:
                self._use_spawner(spawner)
            except BaseException:
                self._leave_spawner(spawner)
                raise
        word = self.progress.assign(command.worker_id)
        worker = WorkerHandle(command.worker_id, command.actor_id)
        try:
            self._listen_to(worker)
            gpus = [self._gpus[number] for number in command.devices]
            spawner.start_worker(worker.id, word, worker.theirs, command.environment, gpus)
        except BaseException:
            self._disconnect(worker)
            raise
        self.workers[worker.id] = worker
        worker.close_theirs()
        self._core.records.ask(worker)

    def _use_spawner(self, spawner: SpawnerHandle) -> None:
        # As many workers as CPUs run at a time: each has one.
        poller = self._core.poller
        spawner.configure(self._session, self._resources, 1, self.progress.descriptor)
        poller.register(spawner.connection.fileno(), self._on_spawner)
        poller.register(spawner.errors.descriptor, partial(self._on_output, spawner.errors))
        self._spawner = spawner

    def _leave_spawner(self, spawner: SpawnerHandle) -> int | None:
        """End a spawner, and stop listening to it; return its status."""
        self._core.poller.unregister(spawner.connection.fileno())
        status = spawner.close(_GRACE_SECONDS)
        self._take_rest(spawner.errors)
        self._core.poller.unregister(spawner.errors.descriptor)
        spawner.errors.close()
        return status

    def _listen_to(self, worker: WorkerHandle) -> None:
        poller = self._core.poller
        poller.register(worker.channel.fileno(), partial(self._on_channel, worker))
        for pipe in (worker.output, worker.errors):
            poller.register(pipe.descriptor, partial(self._on_output, pipe))

    def _disconnect(self, worker: WorkerHandle) -> None:
        pipes = worker.output.descriptor, worker.errors.descriptor
        for descriptor in (worker.channel.fileno(), *pipes):
            self._core.poller.unregister(descriptor)
        worker.close()

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
        worker = self.workers.get(command.worker_id)
        if worker is not None:
            worker.send_control(Recall())

    def interrupt(self, command: commands.InterruptTask) -> None:
        """Ask for the end of one task."""
        worker = self.workers.get(command.worker_id)
        if worker is not None:
            worker.send_control(Interrupt(command.task_id))

    def _on_channel(self, worker: WorkerHandle, ready: int) -> None:
        if worker.flush():
            self._core.poller.want_write(worker.channel.fileno(), False)
        self._receive_from(worker)

    def _receive_from(self, worker: WorkerHandle) -> bool:
        """Take in what a worker has sent; False when there is nothing, or nothing more."""
        try:
            messages = worker.receiver.receive()
            for message in messages or ():
                self._core.inbound.handle(worker, message)
        except BlockingIOError:
            return False
        except NotAMessage:
            return self._give_up(worker, "was ended, as it wrote what is no message")
        except ConnectionError:
            return self._give_up(worker)
        except OSError as error:  # memory of its own, which we have no descriptor for
            return self._give_up(worker, f"was ended, for want of descriptors: {explain(error)}")
        if messages is None:
            return self._give_up(worker)
        if self._core.ref_events or self._core.inbox:
            self._core.drain()
        return True

    def _give_up(self, worker: WorkerHandle, why: str = "") -> bool:
        """Listen to a worker no more, and kill it. Its end is told by the spawner. Return False."""
        worker.why = worker.why or why
        worker.is_heard = False
        self._core.poller.unregister(worker.channel.fileno())
        if self._spawner is not None:
            self._spawner.kill_worker(worker.id)
        return False

    def _on_output(self, pipe: OutputPipe, ready: int) -> None:
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
            match answer["is"]:
                case "started":
                    worker.pid = answer["pid"]
                case "stopped":
                    self._worker_stopped(worker, answer["signal"])
                case _:
                    worker.status = answer["status"]
                    worker.peak_bytes = answer.get("peak_bytes", 0)
                    worker.memory_note = self._memory.note(answer["status"])
                    worker.why = worker.why or answer.get("why", "")
                    self._worker_lost(worker)

    def _worker_stopped(self, worker: WorkerHandle, number: int) -> None:
        """Say so: a stopped process hears nothing, and what waits for it waits on."""
        task = self._core.scheduler.tasks.get(self.progress.last_started(worker.id))
        doing = f", which runs {task.spec.target.name}()," if task is not None else ""
        text = (
            f"worker process {worker.pid}{doing} was stopped by signal {name_of(number)}: "
            f"it goes on after `kill -CONT {worker.pid}`; flame.cancel(ref, force=True) ends it"
        )
        self._core.callbacks.append(partial(_warn, text))

    def _spawner_lost(self, spawner: SpawnerHandle) -> None:
        """The spawner is gone, and so all workers: they die with it."""
        self._spawner = None
        status = self._leave_spawner(spawner)
        how = "is gone" if status is None else in_words(status)
        self._core.endings.spawner_lost(spawner.errors.tail())
        for worker in list(self.workers.values()):
            worker.why = worker.why or f"ended with the process that starts workers, which {how}"
            self._worker_lost(worker)

    def _worker_lost(self, worker: WorkerHandle) -> None:
        while worker.is_heard and self._receive_from(worker):
            pass  # what it had sent counts
        unsent = self.progress.unsent_results(worker.id)
        if unsent:
            self._core.inbound.handle(worker, Results(unsent, {}))
        self._take_rest(worker.output)
        self._take_rest(worker.errors)
        said_before = ""  # while it was a copy of the spawner, with that one's standard error
        if self._spawner is not None:
            self._take_rest(self._spawner.errors)
            said_before = self._spawner.errors.tail()
        self._core.endings.worker_lost(worker, said_before)
        started = self.progress.last_started(worker.id)
        decided = self._core.decide(events.WorkerLost(worker.id, started))
        # Its end is written into errors before it is forgotten; new workers do not concern it.
        self._core.perform(decided)
        self._forget(worker)
        self._core.settle_requests()

    def _forget(self, worker: WorkerHandle) -> None:
        del self.workers[worker.id]
        self.progress.release(worker.id)
        self._disconnect(worker)
        for request in worker.requests.values():
            request.queued = True  # nobody is left to be answered
            request.forget(self._core.objects)
        for object_id, number in worker.pinned.items():
            for _ in range(number):
                self._core.objects.unpin(object_id)
        self._core.questions.forget(worker.id)
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
            spawner.end(idle)
            self._leave_spawner(spawner)
        for worker in self.workers.values():
            self._take_rest(worker.output)
            self._take_rest(worker.errors)
            worker.close()
        self.workers.clear()
        self.progress.close()

    def _take_rest(self, pipe: OutputPipe) -> None:
        while text := pipe.pass_on():
            self._printed.append((pipe, text))


def _warn(text: str) -> None:
    import logging

    logging.getLogger("flame_remote").warning("%s", text)
