"""A world for the scheduler: time, a driver with its threads, workers, and what goes wrong.

The driver here is the embedded engine's in miniature: it feeds events, does what the commands say,
keeps outcomes, and answers those who wait. Time is a heap of what happens next.
"""

from __future__ import annotations

import random
import zlib
from collections import deque
from collections.abc import Callable, Mapping
from heapq import heappop, heappush
from typing import Any, Final

from flame_remote._ids import TaskId, id_source
from flame_remote._scheduling import commands, events
from flame_remote._scheduling.scheduler import Scheduler
from flame_remote._spec import Demand, Target, TargetKind, TaskSpec

from . import bodies
from .checks import Checks
from .scenario import Scenario, Template
from .tasks import Failure, Frame, Outcome, SimActor, SimRequest, SimTask
from .worker import SimWorker

_KINDS: Final = {kind.value: kind for kind in TargetKind}
# After the faults, so many steps are plenty for what is left.
MAX_STEPS: Final = 150_000


class Hang(AssertionError):
    """Something never came to an end."""


class World:
    """One run of one scenario. `run` it once."""

    def __init__(
        self,
        scenario: Scenario,
        scheduler_type: type[Scheduler] = Scheduler,
        *,
        traced: bool = False,
    ) -> None:
        self.scenario = scenario
        self.settings = scenario.settings
        self.scheduler = scheduler_type(self.settings.resources)
        self.now = 0.0
        self.events = 0  # that the scheduler was fed
        self.trace = 0 if traced else None
        self.log: list[str] | None = None
        self.tasks: dict[TaskId, SimTask] = {}
        self.actors: dict[TaskId, SimActor] = {}
        self.workers: dict[int, SimWorker] = {}
        self.board: deque[SimTask] = deque(maxlen=20)
        self.failed_starts = 0  # in a row
        self.checks = Checks(self)
        self.targets = [_target(n, template) for n, template in enumerate(scenario.templates)]
        self._random = random.Random(scenario.seed)
        self._heap: list[tuple[float, int, Callable[[Any], None], Any]] = []
        self._steps = 0
        self._new_id = id_source(0).__next__
        self.new_request_id = id_source(0).__next__
        self._inbox: list[tuple[SimTask, Frame]] = []
        self._todo: deque[tuple[Callable[[Any], None], Any]] = deque()
        self._is_feeding = False
        self._is_catching_up = False
        self._tick_at: float | None = None
        self._perform: dict[type, Callable[[Any], None]] = {
            commands.StartWorker: self._start_worker,
            commands.StopWorker: self._stop_worker,
            commands.KillWorker: self._kill_worker,
            commands.SendTasks: self._send_tasks,
            commands.RecallTasks: self._recall,
            commands.InterruptTask: self._interrupt,
            commands.EndTask: self._end_task,
            commands.ReportDeadlock: self._report_deadlock,
        }

    # --- time ---------------------------------------------------------------------------

    def run(self) -> None:
        """Run until nothing happens any more; check that everything has come to its end."""
        drivers = []
        for steps in self.scenario.drivers:
            frame = Frame(None, None)
            frame.body = bodies.run(self, frame, steps, 0)
            drivers.append(frame)
            self.at(self._random.random() * 0.001, self._run_driver, frame)
        for time in self.settings.deaths:
            self.at(time, self._kill_somebody, None)
        heap = self._heap
        while heap:
            self.now, _, happen, subject = heappop(heap)
            happen(subject)
            if self._steps > MAX_STEPS:
                raise Hang("it goes on for ever")
        self.checks.everything_has_ended()

    def at(self, time: float, happen: Callable[[Any], None], subject: Any) -> None:
        """Let something happen at that time."""
        self._steps += 1
        heappush(self._heap, (time, self._steps, happen, subject))

    def is_faulty(self) -> bool:
        """Say whether things may still go wrong."""
        return self.now < self.settings.faults_until

    def _kill_somebody(self, _: object) -> None:
        alive = [worker for worker in self.workers.values() if worker.alive]
        if alive:
            alive[self._random.randrange(len(alive))].die()

    # --- bodies ask ---------------------------------------------------------------------

    def mode_of(self, frame: Frame, mode: str) -> tuple[str, float]:
        """Return how to wait: without end only where somebody notices if it were for ever."""
        unseen = frame.worker is not None and frame.worker.beside
        if mode == "limited" or unseen or (mode == "any" and self.settings.cycles):
            return mode, 0.001 + 0.01 * self._random.random()
        return mode, 0.0

    def call(
        self, frame: Frame, number: int, copies: int, argument: SimTask | None, *, share: bool
    ) -> None:
        """Call a function some times."""
        handles = tuple(frame.handles) if share else ()
        for _ in range(copies):
            self._submit(frame, self._new_task(frame, number, argument, handles, None))

    def make_actor(self, frame: Frame, number: int) -> None:
        """Construct an actor."""
        task = self._new_task(frame, number, None, (), None)
        actor = task.actor = SimActor(task.id)
        actor.creation = task
        frame.handles.append(actor)
        frame.own.append(actor)
        self._submit(frame, task)

    def call_method(
        self,
        frame: Frame,
        actor: SimActor,
        number: int,
        copies: int,
        argument: SimTask | None,
        *,
        share: bool,
    ) -> None:
        """Call a method of an actor some times."""
        handles = tuple(frame.handles) if share else ()
        for _ in range(copies):
            self._submit(frame, self._new_task(frame, number, argument, handles, actor))

    def cancel(self, frame: Frame, task: SimTask, *, force: bool) -> None:
        """Cancel a task."""
        if frame.worker is not None:
            frame.worker.say(self.on_cancel, (task, force))
        else:
            self._drain()
            self.on_cancel(None, (task, force))

    def kill(self, frame: Frame, actor: SimActor) -> None:
        """End an actor at once."""
        if frame.worker is not None:
            frame.worker.say(self.on_kill, actor)
        else:
            self._drain()
            self.on_kill(None, actor)

    def post(self, frame: Frame, task: SimTask) -> None:
        """Pin the ref of a call to the board."""
        if frame.worker is not None:
            frame.worker.say(self.on_posted, task)
        else:
            self.board.append(task)

    def drop(self, frame: Frame, actor: SimActor) -> None:
        """Let go of one handle."""
        if frame.worker is not None:
            frame.worker.say(self.on_dropped, [actor])
        else:
            self._drain()
            self._release(actor)

    def first_value(self, task: SimTask) -> int:
        """Return what the arguments of a task contribute to its value."""
        value = self.targets.index(task.spec.target)
        for argument in task.arguments:
            assert isinstance(argument.outcome, int)
            value = bodies.mix(value, argument.outcome)
        return value

    def _new_task(
        self,
        frame: Frame,
        number: int,
        argument: SimTask | None,
        handles: tuple[SimActor, ...],
        actor: SimActor | None,
    ) -> SimTask:
        worker = frame.worker
        spec = TaskSpec(
            self._new_id() if worker is None else worker.new_id(),
            self.targets[number],
            (),
            ((0, argument.id),) if argument is not None else (),
            (),
            actor.id if actor is not None else 0,
            frame.task.id if frame.task is not None else 0,
        )
        arguments = (argument,) if argument is not None else ()
        task = SimTask(spec, self.scenario.templates[number], arguments, handles, actor)
        frame.made.append(task)
        return task

    def _submit(self, frame: Frame, task: SimTask) -> None:
        if frame.worker is not None:
            frame.worker.say(self.on_submitted, (task, frame))
            return
        self._inbox.append((task, frame))
        self._register(task, None)
        if len(self._inbox) >= 16 or self._random.random() < 0.3:
            self._drain()

    # --- threads of the driver ------------------------------------------------------------

    def _run_driver(self, frame: Frame) -> None:
        how = None
        if frame.request is not None:
            how, frame.request = frame.request.answer, None
        try:
            wanted = frame.body.send(how)
        except StopIteration:
            self._drain()
            for actor in frame.own:
                self._release(actor)
            frame.own.clear()
            return
        self._drain()
        if type(wanted) is not tuple:
            self.at(self.now + wanted, self._run_driver, frame)
            return
        request = SimRequest(self.new_request_id(), frame, *wanted)
        frame.request = request
        if request.watch():
            self._answer(request)
        elif request.limit:
            self.at(self.now + request.limit, self._driver_too_late, request)

    def _driver_too_late(self, request: SimRequest) -> None:
        if not request.over:
            request.over = True
            request.answer = "late"
            self._run_driver(request.frame)

    def _drain(self) -> None:
        """Take in the calls that the driver's threads have made."""
        if self._inbox:
            calls, self._inbox = self._inbox, []
            self._submitted([task for task, _ in calls])

    def _register(self, task: SimTask, worker: SimWorker | None) -> None:
        """A call exists, as the driver sees it: what it refers to is held."""
        self.tasks[task.id] = task
        actor = task.actor
        if actor is not None and not task.spec.actor:
            self.actors[actor.id] = actor
            actor.handles += 1
            if worker is not None:
                worker.held.append(actor)
        elif actor is not None:
            actor.add(task)
        for handle in task.handles:
            handle.handles += 1

    def _submitted(self, tasks: list[SimTask]) -> None:
        records = []
        for task in tasks:
            failed = [a.outcome for a in task.arguments if isinstance(a.outcome, Failure)]
            if failed:
                self._settle(task, failed[0])
            else:
                records.append(task.record)
        if records:
            self.feed(events.TasksSubmitted(records))
        else:
            self._catch_up()

    # --- messages of workers --------------------------------------------------------------

    def on_hello(self, worker: SimWorker, _: object) -> None:
        self._heard(worker)
        self.feed(events.WorkerHeard(worker.id))

    def on_submitted(self, worker: SimWorker, call: tuple[SimTask, Frame]) -> None:
        self._heard(worker, is_told=False)
        self._register(call[0], worker)
        self._submitted([call[0]])

    def on_results(
        self,
        worker: SimWorker,
        message: tuple[list[tuple[SimTask, Outcome]], dict[int, tuple[int, float]]],
    ) -> None:
        self._heard(worker)
        results, seconds = message
        endings = [
            (task.id, not isinstance(outcome, Failure))
            for task, outcome in results
            if task.outcome is None
        ]
        decided = self._decide(events.TasksEnded(worker.id, endings, seconds))
        ended = {command.task_id for command in decided if type(command) is commands.EndTask}
        for task, outcome in results:
            if task.outcome is None and task.id not in ended:
                self._settle(task, outcome)
        self._do(decided)

    def on_returned(self, worker: SimWorker, tasks: list[SimTask]) -> None:
        self._heard(worker)
        self._returned(worker, tasks)
        self.feed(events.TasksReturned(worker.id, [task.id for task in tasks]))

    def on_request(self, worker: SimWorker, message: tuple[SimRequest, list[SimTask]]) -> None:
        self._heard(worker)
        request, tasks = message
        self._returned(worker, tasks)
        returned = [task.id for task in tasks]
        worker.requests[request.id] = request
        task = request.frame.task
        assert task is not None
        if request.watch():
            request.blocks = False
            if returned:
                self.feed(events.TasksReturned(worker.id, returned))
            self._answer(request)
        elif not request.blocks:
            if returned:
                self.feed(events.TasksReturned(worker.id, returned))
        else:
            self.feed(
                events.TaskBlocked(
                    worker.id, request.id, task.id, request.pending, request.patient, returned
                )
            )

    def on_abandoned(self, worker: SimWorker, request: SimRequest) -> None:
        self._heard(worker, is_told=False)
        if not request.over:
            self._forget(request)

    def on_dropped(self, worker: SimWorker, actors: list[SimActor]) -> None:
        self._heard(worker, is_told=False)
        for actor in actors:
            worker.held.remove(actor)
            self._release(actor)

    def on_cancel(self, worker: SimWorker | None, message: tuple[SimTask, bool]) -> None:
        task, force = message
        if task.outcome is None:
            task.cancelled = True
            holder = task.holder
            running = holder is not None and holder.last_started == task.id
            self.feed(events.CancelRequested(task.id, force, running))

    def on_kill(self, worker: SimWorker | None, actor: SimActor) -> None:
        actor.end = actor.end or "killed"
        self.feed(events.ActorKilled(actor.id))

    def on_posted(self, worker: SimWorker, task: SimTask) -> None:
        self.board.append(task)

    def on_lost(self, worker: SimWorker, last_started: TaskId) -> None:
        """The worker has ended, and all that it had sent has arrived."""
        if not (worker.heard or worker.ending or last_started):
            self.failed_starts += 1
        worker.lost = True
        if worker.actor is not None:
            worker.actor.end = worker.actor.end or "lost"
        for request in worker.requests.values():
            request.over = True
        for task in worker.assigned.values():
            task.holder = None
        self.feed(events.WorkerLost(worker.id, last_started))
        held, worker.held = worker.held, []
        for actor in held:
            self._release(actor)

    def _heard(self, worker: SimWorker, *, is_told: bool = True) -> None:
        """A worker has said something; the event that follows may or may not tell that."""
        if not worker.heard:
            worker.heard = True
            self.failed_starts = 0
            if not is_told:
                self.feed(events.WorkerHeard(worker.id))

    def _returned(self, worker: SimWorker, tasks: list[SimTask]) -> None:
        for task in tasks:
            if worker.assigned.pop(task.id, None) is not None:
                task.holder = None

    # --- what has ended -------------------------------------------------------------------

    def _settle(self, task: SimTask, outcome: Outcome) -> None:
        self.checks.task_ends(task, outcome)
        task.outcome = outcome
        if task.holder is not None:
            del task.holder.assigned[task.id]
            task.holder = None
        actor = task.actor
        if actor is not None:
            if task.spec.actor:
                actor.ended(task)
            elif isinstance(outcome, Failure):
                actor.end = actor.end or "not constructed"
        for request in task.watchers or ():
            if not request.over and request.note(outcome):
                self._todo.append((self._answer, request))
        task.watchers = None
        for handle in task.handles:
            self._release(handle)

    def _answer(self, request: SimRequest, how: str = "ready") -> None:
        if request.over:
            return
        request.over = True
        worker = request.worker
        if worker is None:
            request.answer = how
            self.at(self.now, self._run_driver, request.frame)
            return
        worker.deliver(worker.on_answer, (request, how))
        self._forget(request)

    def _forget(self, request: SimRequest) -> None:
        request.over = True
        worker = request.worker
        assert worker is not None
        worker.requests.pop(request.id, None)
        if request.blocks and not worker.lost:
            self.feed(events.TaskUnblocked(worker.id, request.id))

    def _release(self, actor: SimActor) -> None:
        actor.handles -= 1
        if not actor.handles:
            self._todo.append((self._released, actor))
            self._catch_up()

    def _released(self, actor: SimActor) -> None:
        actor.end = actor.end or "released"
        self.feed(events.ActorReleased(actor.id))

    # --- the scheduler --------------------------------------------------------------------

    def feed(self, event: events.Event) -> None:
        """Tell the scheduler, and do what it says. While that is being done others wait."""
        if self._is_feeding:
            self._todo.append((self.feed, event))
        else:
            self._do(self._decide(event))

    def _decide(self, event: events.Event) -> list[commands.Command]:
        assert not self._is_feeding
        self._is_feeding = True
        self.events += 1
        decided = self.scheduler.handle(self.now, event)
        if self.trace is not None:
            self._note(event, decided)
        self.checks.decided(event, decided)
        return decided

    def _do(self, decided: list[commands.Command]) -> None:
        perform = self._perform
        for command in decided:
            perform[type(command)](command)
        self._is_feeding = False
        self.checks.done()
        tick = self.scheduler.next_tick
        if tick is not None and (self._tick_at is None or tick < self._tick_at):
            self._tick_at = tick
            self.at(tick, self._tick, tick)
        self._catch_up()

    def _catch_up(self) -> None:
        if self._is_catching_up:
            return
        self._is_catching_up = True
        while self._todo and not self._is_feeding:
            do, subject = self._todo.popleft()
            do(subject)
        self._is_catching_up = False

    def _tick(self, due: float) -> None:
        if self._tick_at == due:
            self._tick_at = None
            if self.scheduler.next_tick is not None:
                self.feed(events.Tick())

    def measured(self, worker: SimWorker) -> Mapping[int, tuple[int, float]]:
        """Return what a worker says that its tasks took; they are not always as fast as they say."""  # noqa: E501
        seconds, worker.seconds = worker.seconds, {}
        reported = {}
        for target_id, (calls, spent) in seconds.items():
            if self.settings.measured == "zero":
                spent = 0.0
            elif self.settings.measured == "long":
                spent = calls * 1.0
            elif self.settings.measured == "noise":
                spent = worker.random.choice([0.0, 0.0001, 0.002, 0.1])
            if calls:
                reported[target_id] = (calls, spent)
        return reported

    # --- its commands ---------------------------------------------------------------------

    def _start_worker(self, command: commands.StartWorker) -> None:
        actor = self.actors[command.actor_id] if command.actor_id else None
        worker = SimWorker(self, command.worker_id, actor)
        self.checks.worker_starts(worker)
        self.workers[worker.id] = worker
        start = self.now + self.settings.boot * worker.random.random()
        fails = worker.random.random() < self.settings.failing_starts and self.is_faulty()
        self.at(start, worker.die if fails else worker.boot, None)

    def _stop_worker(self, command: commands.StopWorker) -> None:
        worker = self.checks.reachable(command.worker_id)
        worker.ending = True
        worker.deliver(worker.on_stop)

    def _kill_worker(self, command: commands.KillWorker) -> None:
        worker = self.checks.reachable(command.worker_id)
        worker.ending = True
        self.at(self.now + self.settings.latency * worker.random.random(), worker.die, None)

    def _send_tasks(self, command: commands.SendTasks) -> None:
        tasks = [self.tasks[record.spec.id] for record in command.records]
        worker = self.checks.reachable(command.worker_id)
        for task in tasks:
            self.checks.task_is_sent(task, worker)
            task.holder = worker
            worker.assigned[task.id] = task
            if task.spec.actor and task.actor is not None:
                task.actor.sent(task)
        if command.helps:
            request = self.checks.helped_request(worker)
            worker.deliver(worker.on_help, (request, tasks))
        else:
            worker.deliver(worker.on_tasks, tasks)

    def _recall(self, command: commands.RecallTasks) -> None:
        worker = self.checks.reachable(command.worker_id)
        worker.deliver(worker.on_recall)

    def _interrupt(self, command: commands.InterruptTask) -> None:
        worker = self.checks.reachable(command.worker_id)
        task = self.tasks[command.task_id]
        worker.deliver(worker.on_interrupt, task)

    def _end_task(self, command: commands.EndTask) -> None:
        task = self.tasks[command.task_id]
        self._settle(task, self.checks.failure_of(task, command))

    def _report_deadlock(self, command: commands.ReportDeadlock) -> None:
        worker = self.checks.reachable(command.worker_id)
        request = worker.requests.get(command.request_id)
        if request is not None:
            self._todo.append((self._answer_deadlock, request))

    def _answer_deadlock(self, request: SimRequest) -> None:
        self._answer(request, "deadlock")

    # --- traces ---------------------------------------------------------------------------

    def _note(self, event: events.Event, decided: list[commands.Command]) -> None:
        """Add to a sum over all that went in and came out."""
        line = f"{self.now:.6f} {_text(event)} -> {' '.join(map(_text, decided))}"
        if self.log is not None:
            self.log.append(line)
        self.trace = zlib.crc32(line.encode(), self.trace or 0)


def _target(number: int, template: Template) -> Target:
    is_method = template.kind == "method"
    return Target(
        number + 1,
        _KINDS[template.kind],
        f"{template.kind}{number}",
        b"",
        Demand.of(template.demand),
        0 if is_method else template.max_retries,
        template.max_concurrency,
        "method" if is_method else "",
    )


def _text(thing: Any) -> str:
    """Return an event or a command in one word, the same in every process."""
    parts = []
    for name in thing.__slots__:
        value = getattr(thing, name)
        if name == "records":
            value = [record.spec.id for record in value]
        parts.append(f"{name}={value}".replace(" ", ""))
    return f"{type(thing).__name__}({','.join(parts)})"
