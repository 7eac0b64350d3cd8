"""A simulated worker process."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from flame_remote._environment import Environment
from flame_remote._ids import TaskId, id_source
from flame_remote._spec import TargetKind

from . import bodies
from .tasks import Again, Failure, Frame, Outcome, SimActor, SimRequest, SimTask

if TYPE_CHECKING:
    from .world import World

_RESULT_DELAY = 0.001


class SimWorker:
    """Runs what comes in the order in which it came, one task at a time, and on top of one that is
    blocked what it is sent for that. An actor with concurrency runs its calls beside each other."""

    def __init__(self, world: World, worker_id: int, actor: SimActor | None) -> None:
        self.world = world
        self.id = worker_id
        self.actor = actor
        self.environment: Environment | None = None
        self.devices: tuple[int, ...] = ()
        # Its own, so that leaving something out elsewhere changes little here.
        self.random = random.Random(world.scenario.seed * 1009 + worker_id)
        self.new_id = id_source(worker_id).__next__
        # As the process is.
        self.booted = False
        self.alive = True
        self.stopping = False
        self.leaving = False  # by its actor's own wish: it starts nothing more
        self.beside = False  # calls run beside each other
        self.mail: deque[tuple[Callable[[Any], None], Any]] = deque()  # before it has booted
        self.inbox: deque[SimTask] = deque()
        self.helping: deque[SimTask] = deque()
        self.stack: list[Frame] = []
        self.frames: dict[TaskId, Frame] = {}  # those beside each other
        self.results: list[tuple[SimTask, Outcome | Again]] = []
        self.seconds: dict[int, tuple[int, float]] = {}
        self.last_started: TaskId = 0
        self._flush_due = False
        # Channels: when the last message arrives.
        self._in_time = 0.0
        self._out_time = 0.0
        # As the driver sees it.
        self.heard = False
        self.lost = False
        self.ending = False  # was told to end
        self.requests: dict[int, SimRequest] = {}
        self.held: list[SimActor] = []
        self.assigned: dict[TaskId, SimTask] = {}

    # --- channels -----------------------------------------------------------------------

    def deliver(self, handler: Callable[[Any], None], content: Any = None) -> None:
        """Let a message of the driver arrive, after those before it."""
        self._in_time = max(self._in_time, self.world.now + self._delay())
        self.world.at(self._in_time, self._receive, (handler, content))

    def _receive(self, message: tuple[Callable[[Any], None], Any]) -> None:
        if self.booted:
            if self.alive:
                message[0](message[1])
        else:
            self.mail.append(message)

    def say(self, handler: Callable[[SimWorker, Any], None], content: Any = None) -> None:
        """Let a message arrive at the driver, after those before it."""
        self._out_time = max(self._out_time, self.world.now + self._delay())
        self.world.at(self._out_time, self._arrive, (handler, content))

    def _arrive(self, message: tuple[Callable[[SimWorker, Any], None], Any]) -> None:
        message[0](self, message[1])

    def _delay(self) -> float:
        fortune = self.random.random()
        latency = self.world.settings.latency
        if fortune < 0.9:
            return fortune * latency
        return latency * (1 if fortune < 0.99 else 20)

    # --- life ---------------------------------------------------------------------------

    def boot(self, _: object = None) -> None:
        """The process has started."""
        if not self.alive:
            return
        self.booted = True
        if self.world.settings.hello:
            self.say(self.world.driver.on_hello)
        while self.mail and self.alive:
            handler, content = self.mail.popleft()
            handler(content)

    def die(self, _: object = None) -> None:
        """The process ends. What it has sent still arrives."""
        if not self.alive:
            return
        self.alive = False
        for frame in [*self.stack, *self.frames.values()]:
            if frame.task is not None:
                frame.task.lost_running += 1
        for task, _outcome in self.results:
            task.lost_unreported += 1
        self.say(SimWorker._lost)

    def _lost(self, _: object = None) -> None:
        self.world.driver.on_lost(self, self.last_started)

    def _may_die(self) -> bool:
        """Die perhaps, between two things; say whether it did."""
        world = self.world
        fragility = world.settings.fragility
        if fragility and self.random.random() < fragility and world.is_faulty():
            self.die()
        return not self.alive

    # --- messages of the driver -----------------------------------------------------------

    def on_stop(self, _: object) -> None:
        self.stopping = True
        self._go_on()

    def leave(self) -> None:
        """The actor here has decided to end."""
        self.leaving = self.stopping = True
        self.inbox.clear()
        self.say(self.world.driver.on_exit)

    def on_tasks(self, tasks: list[SimTask]) -> None:
        if self.leaving:
            return
        if self.stack and self.stack[-1].request is not None and self.actor is None:
            self._give_back(tasks)
            return
        self.inbox.extend(tasks)
        self._go_on()

    def on_help(self, help_: tuple[SimRequest, list[SimTask]]) -> None:
        request, tasks = help_
        if self.stack and self.stack[-1].request is request:
            self.helping.extend(tasks)
            self._go_on()
        elif self.random.random() < 0.5 or (self.stack and self.stack[-1].request is not None):
            self._give_back(tasks)
        else:
            self.inbox.extend(tasks)
            self._go_on()

    def on_answer(self, answer: tuple[SimRequest, str]) -> None:
        request, how = answer
        frame = request.frame
        if frame.request is request:
            request.answer = how
            if self.stack and self.stack[-1] is frame and frame.task is not None:
                self.world.checks.task_resumes(self, frame.task)
            self._go_on(frame)

    def on_recall(self, _: object) -> None:
        returned = [*self.inbox, *self.helping]
        self.inbox.clear()
        self.helping.clear()
        self._flush()
        self._give_back(returned)

    def on_interrupt(self, task: SimTask) -> None:
        for queue in (self.inbox, self.helping):
            if task in queue:
                queue.remove(task)
                self.results.append((task, Failure("interrupted", task.id)))
                self._flush()
                return
        frame = self.frames.get(task.id)
        if self.stack and self.stack[-1].task is task:
            frame = self.stack[-1]
        if frame is None or self.random.random() < self.world.settings.deaf:
            return  # it has ended, something runs on top of it, or it will not hear
        if frame.request is not None:
            self._abandon(frame)
        frame.asleep = False
        frame.body.close()
        self._finish(frame, Failure("interrupted", task.id))
        self._go_on()

    # --- running ------------------------------------------------------------------------

    def _go_on(self, frame: Frame | None = None) -> None:
        """Do whatever can be done now."""
        if self.beside and frame is not None:
            self._go_on_beside(frame)
        while self.alive:
            if self.beside:
                concurrency = self._concurrency()
                while self.inbox and len(self.frames) < concurrency and self.alive:
                    self._start(self.inbox.popleft())
                break
            if not self.stack:
                if not self.inbox:
                    break
                self._start(self.inbox.popleft())
                continue
            top = self.stack[-1]
            request = top.request
            if top.asleep:
                return
            assert request is not None
            if request.answer is None:
                if self.helping:
                    self._start(self.helping.popleft())
                    continue
                if self.inbox and self.actor is None:
                    self._give_back(list(self.inbox))
                    self.inbox.clear()
                return
            if self.helping:
                if self.random.random() < 0.5:
                    self._give_back(list(self.helping))
                else:
                    self.inbox.extendleft(reversed(self.helping))
                self.helping.clear()
            self._resume(top)
        if self.alive and not self.stack:
            self._flush()
            if self.stopping and not self.frames:
                self.alive = False
                self.say(SimWorker._lost)

    def _go_on_beside(self, frame: Frame) -> None:
        if frame.request is not None and frame.request.answer is not None:
            self._resume(frame)

    def _concurrency(self) -> int:
        assert self.actor is not None
        return self.actor.creation.template.max_concurrency

    def _start(self, task: SimTask) -> None:
        if task.spec.target.max_retries == 0 and (
            self.actor is None or self.actor.creation.template.max_restarts
        ):
            self._flush()  # results before it must not be lost without its being counted
        self.last_started = task.id
        task.starts += 1
        self.world.checks.task_starts(self, task)
        frame = Frame(task, self)
        start = self.world.first_value(task)
        frame.body = bodies.run(self.world, frame, task.template.steps, start)
        if self.beside:
            self.frames[task.id] = frame
        else:
            self.stack.append(frame)
        if task.template.memory and self.random.random() < self.world.settings.greed:
            self.say(self.world.driver.on_swollen, task)
        if not self._may_die():
            self._run(frame, None)

    def _resume(self, frame: Frame) -> None:
        request, frame.request = frame.request, None
        frame.asleep = False
        how = None
        if request is not None:
            how = request.answer
            if how == "late":
                frame.request = request
                self._abandon(frame)
        self._run(frame, how)

    def _run(self, frame: Frame, how: str | None) -> None:
        """Run a body until it waits or ends."""
        try:
            wanted = frame.body.send(how)
        except StopIteration as stop:
            if self.alive and not self._may_die():
                self._finish(frame, stop.value)
            return
        except bodies.Crash:
            self.die()
            return
        if not self.alive or self._may_die():
            return
        if type(wanted) is not tuple:
            frame.asleep = True
            self._spend(frame, wanted)
            self.world.at(self.world.now + wanted, self._wake, frame)
            return
        self._wait(frame, *wanted)

    def _wake(self, frame: Frame) -> None:
        if not (self.alive and frame.asleep):
            return
        self._resume(frame)
        self._go_on()

    def _wait(self, frame: Frame, tasks: list[SimTask], mode: str, limit: float) -> None:
        self._flush()
        request = SimRequest(self.world.new_request_id(), frame, tasks, mode, limit)
        frame.request = request
        request.blocks = not self.beside
        returned: list[SimTask] = []
        if self.actor is None:
            returned = [*self.inbox, *self.helping]
            self.inbox.clear()
            self.helping.clear()
        self.say(self.world.driver.on_request, (request, returned))
        if limit:
            self.world.at(self.world.now + limit, self._too_late, request)

    def _too_late(self, request: SimRequest) -> None:
        frame = request.frame
        if self.alive and frame.request is request and request.answer is None:
            request.answer = "late"
            if self.beside or self.stack[-1] is frame:
                self._go_on(frame)

    def _abandon(self, frame: Frame) -> None:
        request, frame.request = frame.request, None
        self.say(self.world.driver.on_abandoned, request)

    def _finish(self, frame: Frame, outcome: Outcome) -> None:
        task = frame.task
        assert task is not None
        if self.beside:
            del self.frames[task.id]
        else:
            assert self.stack.pop() is frame
        if frame.own:
            self.say(self.world.driver.on_dropped, frame.own)
        self._spend(frame, 0.0, calls=1)
        self.results.append((task, _or_again(task, outcome)))
        if task.spec.target.kind is TargetKind.ACTOR and not isinstance(outcome, Failure):
            self.beside = task.template.max_concurrency > 1
        if self._may_die():
            return
        if isinstance(self.results[-1][1], Again):
            self._flush()
            self.last_started = 0  # it may come back, and has not started then
        buffered = self.world.settings.buffering and not self.beside
        if self.stack:
            self._flush()  # first: the result must not be lost without its being counted
            outer = self.stack[-1].task
            if outer is not None and self.world.settings.outer_again:
                self.last_started = outer.id
        elif not buffered or (task.spec.target.max_retries == 0 and self.actor is None):
            self._flush()
        elif not self._flush_due:
            self._flush_due = True
            self.world.at(self.world.now + _RESULT_DELAY, self._flush_in_time, None)

    # --- sending ------------------------------------------------------------------------

    def _spend(self, frame: Frame, seconds: float, calls: int = 0) -> None:
        assert frame.task is not None
        target_id = frame.task.spec.target.id
        known_calls, known = self.seconds.get(target_id, (0, 0.0))
        self.seconds[target_id] = (known_calls + calls, known + seconds)

    def _flush_in_time(self, _: object) -> None:
        self._flush_due = False
        if self.alive:
            self._flush()

    def _flush(self) -> None:
        if self.results:
            results, self.results = self.results, []
            seconds = self._measured()
            self.say(self.world.driver.on_results, (results, seconds))

    def _give_back(self, tasks: list[SimTask]) -> None:
        self.say(self.world.driver.on_returned, tasks)

    def _measured(self) -> Mapping[int, tuple[int, float]]:
        """Return what it says that its tasks took; they are not always as fast as that."""
        settings = self.world.settings
        seconds, self.seconds = self.seconds, {}
        reported = {}
        for target_id, (calls, spent) in seconds.items():
            if settings.measured == "zero":
                spent = 0.0
            elif settings.measured == "long":
                spent = calls * 1.0
            elif settings.measured == "noise":
                spent = self.random.choice([0.0, 0.0001, 0.002, 0.1])
            if calls:
                reported[target_id] = (calls, spent)
        return reported


def _or_again(task: SimTask, outcome: Outcome) -> Outcome | Again:
    """Return what is told of an attempt: an error of its own may be no reason to give up."""
    is_own = isinstance(outcome, Failure) and outcome.kind == "raised" and outcome.origin == task.id
    if is_own and task.failed_attempts + 1 < task.template.attempts:
        return Again(task.template.pause)
    return outcome
