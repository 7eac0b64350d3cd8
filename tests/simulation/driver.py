"""The driver of a simulated world: what it knows of calls, and what it does when workers speak.

It is the embedded engine's driver in miniature: it tells the scheduler, keeps outcomes, counts
handles of actors, and answers those who wait.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from flame_remote._ids import TaskId
from flame_remote._scheduling import commands, events
from flame_remote._scheduling.fleet import START_ATTEMPTS, START_PAUSE_SECONDS

from .tasks import Again, Failure, Frame, Outcome, SimActor, SimRequest, SimTask

if TYPE_CHECKING:
    from .worker import SimWorker
    from .world import World


class Driver:
    """One method for each message of a worker, and for what the driver's threads do."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.shell = world.shell
        self._inbox: list[SimTask] = []

    # --- calls --------------------------------------------------------------------------

    def take(self, task: SimTask, frame: Frame) -> int:
        """A thread has made a call; return how many wait to be taken in."""
        self._inbox.append(task)
        self.register(task, frame)
        return len(self._inbox)

    def drain(self) -> None:
        """Take in the calls that the driver's threads have made."""
        if self._inbox:
            calls, self._inbox = self._inbox, []
            self.submitted(calls)

    def register(self, task: SimTask, frame: Frame) -> None:
        """A call exists, as the driver sees it: what it refers to is held."""
        self.world.tasks[task.id] = task
        worker, actor = frame.worker, task.actor
        if actor is not None and not task.spec.actor:
            self.world.actors[actor.id] = actor
            actor.handles += 1
            if worker is not None:
                worker.held.append(actor)
        elif actor is not None:
            task.caller = _caller(frame)
            actor.add(task)
        for handle in task.handles:
            handle.handles += 1

    def submitted(self, tasks: list[SimTask]) -> None:
        records = []
        for task in tasks:
            failed = [a.outcome for a in task.arguments if isinstance(a.outcome, Failure)]
            if failed:
                self.settle(task, failed[0])
            else:
                records.append(task.record)
                self._note_deadline(task)
        if records:
            self.shell.feed(events.TasksSubmitted(records))
        else:
            self.shell.catch_up()

    def _note_deadline(self, task: SimTask) -> None:
        parent = self.world.tasks.get(task.spec.parent)
        if parent is not None and parent.outcome is None:
            task.due = parent.due
        if task.template.deadline:
            task.due = min(task.due, self.world.now + task.template.deadline)

    # --- messages of workers --------------------------------------------------------------

    def on_hello(self, worker: SimWorker, _: object) -> None:
        self._heard(worker)
        self.shell.feed(events.WorkerHeard(worker.id))

    def on_submitted(self, worker: SimWorker, call: tuple[SimTask, Frame]) -> None:
        self._heard(worker, is_told=False)
        self.register(*call)
        self.submitted([call[0]])

    def on_results(
        self,
        worker: SimWorker,
        message: tuple[list[tuple[SimTask, Outcome | Again]], dict[int, tuple[int, float]]],
    ) -> None:
        self._heard(worker)
        told, seconds = message
        results = [(task, how) for task, how in told if not isinstance(how, Again)]
        again = []
        for task, how in told:
            if isinstance(how, Again) and task.holder is worker:
                again.append((task.id, how.pause, "raised"))
                self._is_to_rest(task, how.pause)
        endings = [
            (task.id, not isinstance(outcome, Failure))
            for task, outcome in results
            if task.outcome is None
        ]
        decided = self.shell.decide(events.TasksEnded(worker.id, endings, seconds, again))
        ended = {command.task_id for command in decided if type(command) is commands.EndTask}
        for task, outcome in results:
            if task.outcome is None and task.id not in ended:
                self.settle(task, outcome)
        self.shell.perform(decided)

    def _is_to_rest(self, task: SimTask, pause: float) -> None:
        task.failed_attempts += 1
        task.rests_until = self.world.now + pause
        if task.holder is not None:
            del task.holder.assigned[task.id]
            task.holder = None

    def on_returned(self, worker: SimWorker, tasks: list[SimTask]) -> None:
        self._heard(worker)
        self._returned(worker, tasks)
        self.shell.feed(events.TasksReturned(worker.id, [task.id for task in tasks]))

    def on_request(self, worker: SimWorker, message: tuple[SimRequest, list[SimTask]]) -> None:
        request, tasks = message
        worker.requests[request.id] = request
        answerable = request.watch()
        request.blocks = request.blocks and not answerable
        self._heard(worker, is_told=bool(tasks) or request.blocks)
        self._returned(worker, tasks)
        returned = [task.id for task in tasks]
        task = request.frame.task
        assert task is not None
        if request.blocks:
            self.shell.feed(
                events.TaskBlocked(
                    worker.id, request.id, task.id, request.pending, request.patient, returned
                )
            )
        elif returned:
            self.shell.feed(events.TasksReturned(worker.id, returned))
        if answerable:
            self.answer(request)

    def on_abandoned(self, worker: SimWorker, request: SimRequest) -> None:
        self._heard(worker, is_told=False)
        if not request.over:
            self.forget(request)

    def on_dropped(self, worker: SimWorker, actors: list[SimActor]) -> None:
        self._heard(worker, is_told=False)
        for actor in actors:
            worker.held.remove(actor)
            self.release(actor)

    def on_cancel(self, worker: SimWorker | None, message: tuple[SimTask, bool]) -> None:
        task, force = message
        if task.outcome is None:
            task.cancelled = True
            holder = task.holder
            running = holder is not None and holder.last_started == task.id
            self.shell.feed(events.CancelRequested(task.id, force, running))

    def on_kill(self, worker: SimWorker | None, message: tuple[SimActor, bool]) -> None:
        actor, may_restart = message
        if not may_restart:
            actor.note_end("killed")
        self.shell.feed(events.ActorKilled(actor.id, may_restart))

    def on_exit(self, worker: SimWorker, _: object) -> None:
        self._heard(worker, is_told=False)
        assert worker.actor is not None
        worker.actor.note_end("exited")
        self.shell.feed(events.ActorExited(worker.actor.id))

    def restarts(self, actor: SimActor) -> None:
        """The scheduler has decided to construct an actor once more."""
        self.world.checks.actor_restarts(actor)
        actor.restarted()
        creation = actor.creation
        if creation.outcome is not None:
            creation.outcome = None
            creation.record = self.world.scheduler.tasks[actor.id]

    def on_swollen(self, worker: SimWorker, task: SimTask) -> None:
        """The driver has looked at a worker, and seen that it is too large."""
        if worker.lost:
            return
        if task.outcome is None and task.holder is worker:
            task.swollen = True
            self.shell.feed(events.MemoryExceeded(worker.id, task.id))
        elif worker.actor is not None:  # it has been constructed meanwhile
            self.shell.feed(events.MemoryExceeded(worker.id, 0))

    def on_posted(self, worker: SimWorker, task: SimTask) -> None:
        self.world.board.append(task)

    def on_lost(self, worker: SimWorker, last_started: TaskId) -> None:
        """The worker has ended, and all that it had sent has arrived."""
        if not (worker.heard or worker.ending or last_started):
            self.world.failed_starts += 1
            self.world.most_failed_starts = max(
                self.world.most_failed_starts, self.world.failed_starts
            )
            self._start_failed(worker)
        worker.lost = True
        del self.world.present[worker.id]
        if worker.actor is not None:
            worker.actor.note_end("lost")
        for request in worker.requests.values():
            request.over = True
        for task in worker.assigned.values():
            task.holder = None
        self.shell.feed(events.WorkerLost(worker.id, last_started))
        held, worker.held = worker.held, []
        for actor in held:
            self.release(actor)

    def _start_failed(self, worker: SimWorker) -> None:
        """While others live, nothing may be started for a while, if this has happened too often."""
        self.world.failures += 1
        if self.world.failures >= START_ATTEMPTS:
            others = (w for w in self.world.present.values() if w is not worker)
            if any(not (other.actor or other.ending) for other in others):
                self.world.no_starts_until = self.world.now + START_PAUSE_SECONDS
            else:
                self.world.failures = 0

    def _heard(self, worker: SimWorker, *, is_told: bool = True) -> None:
        """A worker has said something; the event that follows may or may not tell that."""
        if not worker.heard:
            worker.heard = True
            self.world.failed_starts = self.world.failures = 0
            self.world.no_starts_until = 0.0
            if not is_told:
                self.shell.feed(events.WorkerHeard(worker.id))

    def _returned(self, worker: SimWorker, tasks: list[SimTask]) -> None:
        for task in tasks:
            if worker.assigned.pop(task.id, None) is not None:
                task.holder = None

    # --- what has ended -------------------------------------------------------------------

    def settle(self, task: SimTask, outcome: Outcome) -> None:
        self.world.checks.task_ends(task, outcome)
        task.outcome = outcome
        if task.holder is not None:
            del task.holder.assigned[task.id]
            task.holder = None
        actor = task.actor
        if actor is not None:
            if task.spec.actor:
                actor.ended(task)
            elif isinstance(outcome, Failure):
                actor.note_end("not constructed")
            else:
                actor.restarts_in_a_row = 0
        for request in task.watchers or ():
            if not request.over and request.note(outcome):
                self.shell.todo.append((self.answer, request))
        task.watchers = None
        for handle in task.handles:
            self.release(handle)

    def answer(self, request: SimRequest, how: str = "ready") -> None:
        if request.over:
            return
        request.over = True
        worker = request.worker
        if worker is None:
            request.answer = how
            self.world.at(self.world.now, self.world.run_thread, request.frame)
            return
        worker.deliver(worker.on_answer, (request, how))
        self.forget(request)

    def forget(self, request: SimRequest) -> None:
        request.over = True
        worker = request.worker
        assert worker is not None
        worker.requests.pop(request.id, None)
        if request.blocks and not worker.lost:
            self.shell.feed(events.TaskUnblocked(worker.id, request.id))

    def release(self, actor: SimActor) -> None:
        actor.handles -= 1
        if not actor.handles:
            self.shell.todo.append((self._released, actor))
            self.shell.catch_up()

    def _released(self, actor: SimActor) -> None:
        actor.note_end("released")
        self.shell.feed(events.ActorReleased(actor.id))


def _caller(frame: Frame) -> object:
    """Return whose calls on an actor keep their order: those of all the driver's threads, those of
    an actor that does one thing after the other, and else those of one task."""
    worker, task = frame.worker, frame.task
    if worker is None or task is None or task.outcome is not None:
        return worker
    if task.actor is None or (task.spec.actor and task.actor.creation.template.max_concurrency > 1):
        return task
    return worker
