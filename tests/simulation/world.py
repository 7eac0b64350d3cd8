"""A world for the scheduler: time, programs that run, and what goes wrong.

Time is a heap of what happens next. Programs are bodies (bodies.py) of tasks in workers (worker.py)
and of threads of the driver; what they ask for comes here. What the driver hears it handles in
driver.py, and tells the scheduler through shell.py.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable
from heapq import heappop, heappush
from typing import Any, Final

from flame_remote._environment import Environment
from flame_remote._ids import TaskId, id_source
from flame_remote._scheduling.scheduler import Scheduler
from flame_remote._spec import CallLimits, Demand, Restarts, Target, TargetKind, TaskSpec

from . import bodies, oracle
from .checks import Checks
from .driver import Driver
from .scenario import Scenario, Template
from .shell import Shell
from .tasks import Frame, SimActor, SimRequest, SimTask
from .worker import SimWorker

_KINDS: Final = {kind.value: kind for kind in TargetKind}
# After the faults, so many steps are plenty for what is left.
MAX_STEPS: Final = 150_000


class Hang(AssertionError):
    """Something never came to an end."""


class World:
    """One run of one scenario. `run` it once."""

    def __init__(self, scenario: Scenario, *, traced: bool = False) -> None:
        self.scenario = scenario
        self.settings = scenario.settings
        self.scheduler = Scheduler(self.settings.resources)
        self.now = 0.0
        self.events = 0  # that the scheduler was fed
        self.trace = 0 if traced else None
        self.log: list[str] | None = None
        self.tasks: dict[TaskId, SimTask] = {}
        self.actors: dict[TaskId, SimActor] = {}
        self.workers: dict[int, SimWorker] = {}
        self.present: dict[int, SimWorker] = {}  # those that are not known to be lost
        self.board: deque[SimTask] = deque(maxlen=20)
        self.failed_starts = 0  # in a row
        self.failures = 0  # of those, since all was given up
        self.most_failed_starts = 0
        self.no_starts_until = 0.0
        self.checks = Checks(self)
        self.targets = [_target(n, template) for n, template in enumerate(scenario.templates)]
        self._random = random.Random(scenario.seed)
        self._heap: list[tuple[float, int, Callable[[Any], None], Any]] = []
        self._steps = 0
        self._new_id = id_source(0).__next__
        self.new_request_id = id_source(0).__next__
        self.shell = Shell(self)
        self.driver = Driver(self)

    # --- time ---------------------------------------------------------------------------

    def run(self) -> None:
        """Run until nothing happens any more; check that everything has come to its end."""
        drivers = []
        for steps in self.scenario.drivers:
            frame = Frame(None, None)
            frame.body = bodies.run(self, frame, steps, 0)
            drivers.append(frame)
            self.at(self._random.random() * 0.001, self.run_thread, frame)
        for time in self.settings.deaths:
            self.at(time, self._kill_somebody, None)
        heap = self._heap
        while heap:
            self.now, _, happen, subject = heappop(heap)
            happen(subject)
            if self._steps > MAX_STEPS:
                raise Hang("it goes on for ever")
        self.checks.tables.everything_has_ended()
        oracle.compare(self)

    def at(self, time: float, happen: Callable[[Any], None], subject: Any) -> None:
        """Let something happen at that time."""
        self._steps += 1
        heappush(self._heap, (time, self._steps, happen, subject))

    def is_faulty(self) -> bool:
        """Say whether things may still go wrong."""
        return self.now < self.settings.faults_until

    def _kill_somebody(self, _: object) -> None:
        alive = [worker for worker in self.present.values() if worker.alive]
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
        if task.template.max_restarts:
            frame.made.pop()  # nobody takes for a value what may come more than once
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
            frame.worker.say(self.driver.on_cancel, (task, force))
        else:
            self.driver.drain()
            self.driver.on_cancel(None, (task, force))

    def kill(self, frame: Frame, actor: SimActor, *, may_restart: bool) -> None:
        """End an actor, or its process, at once."""
        if frame.worker is not None:
            frame.worker.say(self.driver.on_kill, (actor, may_restart))
        else:
            self.driver.drain()
            self.driver.on_kill(None, (actor, may_restart))

    def post(self, frame: Frame, task: SimTask) -> None:
        """Pin the ref of a call to the board."""
        if frame.worker is not None:
            frame.worker.say(self.driver.on_posted, task)
        else:
            self.board.append(task)

    def drop(self, frame: Frame, actor: SimActor) -> None:
        """Let go of one handle."""
        if frame.worker is not None:
            frame.worker.say(self.driver.on_dropped, [actor])
        else:
            self.driver.drain()
            self.driver.release(actor)

    def first_value(self, task: SimTask) -> int:
        """Return what the arguments of a task contribute to its value."""
        value = task.number
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
        task = SimTask(spec, number, self.scenario.templates[number], arguments, handles, actor)
        frame.made.append(task)
        return task

    def _submit(self, frame: Frame, task: SimTask) -> None:
        if frame.worker is not None:
            frame.worker.say(self.driver.on_submitted, (task, frame))
            return
        number = self.driver.take(task, frame)
        if number >= 16 or self._random.random() < 0.3:
            self.driver.drain()

    # --- threads of the driver ------------------------------------------------------------

    def run_thread(self, frame: Frame) -> None:
        how = None
        if frame.request is not None:
            how, frame.request = frame.request.answer, None
        try:
            wanted = frame.body.send(how)
        except StopIteration:
            self.driver.drain()
            for actor in frame.own:
                self.driver.release(actor)
            frame.own.clear()
            return
        self.driver.drain()
        if type(wanted) is not tuple:
            self.at(self.now + wanted, self.run_thread, frame)
            return
        request = SimRequest(self.new_request_id(), frame, *wanted)
        frame.request = request
        if request.watch():
            self.driver.answer(request)
        elif request.limit:
            self.at(self.now + request.limit, self._driver_too_late, request)

    def _driver_too_late(self, request: SimRequest) -> None:
        if not request.over:
            request.over = True
            request.answer = "late"
            self.run_thread(request.frame)


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
        limits=CallLimits(
            template.timeout or None,
            template.deadline or None,
            template.priority,
            template.max_calls,
            template.memory,
        ),
        environment=Environment(folder=template.environment) if template.environment else None,
        restarts=Restarts(template.max_restarts, template.max_task_retries or 0),
        max_task_retries=template.max_task_retries,
    )
