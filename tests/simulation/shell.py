"""What stands around the scheduler in a simulated world: feeds it, and does what it decides."""

from __future__ import annotations

import zlib
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from flame_remote._scheduling import commands, events

from .tasks import SimRequest
from .worker import SimWorker

if TYPE_CHECKING:
    from .world import World


class Shell:
    """One method for each command."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.todo: deque[tuple[Callable[[Any], None], Any]] = deque()  # when an event is over
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
            commands.RestartActor: self._restart_actor,
            commands.EndActor: self._end_actor,
            commands.ReportDeadlock: self._report_deadlock,
        }

    # --- the scheduler --------------------------------------------------------------------

    def feed(self, event: events.Event) -> None:
        """Tell the scheduler, and do what it says. While that is being done others wait."""
        if self._is_feeding:
            self.todo.append((self.feed, event))
        else:
            self.perform(self.decide(event))

    def decide(self, event: events.Event) -> list[commands.Command]:
        """Tell the scheduler; `perform` must follow."""
        assert not self._is_feeding
        self._is_feeding = True
        self.world.events += 1
        decided = self.world.scheduler.handle(self.world.now, event)
        if self.world.trace is not None:
            self._note(event, decided)
        self.world.checks.decided(event, decided)
        return decided

    def perform(self, decided: list[commands.Command]) -> None:
        """Do what it has decided, then whatever has waited for that."""
        perform = self._perform
        for command in decided:
            perform[type(command)](command)
        self._is_feeding = False
        self.world.checks.done()
        tick = self.world.scheduler.next_tick
        if tick is not None and (self._tick_at is None or tick < self._tick_at):
            self._tick_at = tick
            self.world.at(tick, self._tick, tick)
        self.catch_up()

    def catch_up(self) -> None:
        """Do what was put off while something was being done."""
        if self._is_catching_up:
            return
        self._is_catching_up = True
        while self.todo and not self._is_feeding:
            do, subject = self.todo.popleft()
            do(subject)
        self._is_catching_up = False

    def _tick(self, due: float) -> None:
        if self._tick_at == due:
            self._tick_at = None
            if self.world.scheduler.next_tick is not None:
                self.feed(events.Tick())

    # --- its commands ---------------------------------------------------------------------

    def _start_worker(self, command: commands.StartWorker) -> None:
        actor = self.world.actors[command.actor_id] if command.actor_id else None
        worker = SimWorker(self.world, command.worker_id, actor)
        worker.environment, worker.devices = command.environment, command.devices
        self.world.checks.worker_starts(worker)
        self.world.workers[worker.id] = self.world.present[worker.id] = worker
        settings, now = self.world.settings, self.world.now
        start = now + settings.boot * worker.random.random()
        fails = worker.random.random() < settings.failing_starts and self.world.is_faulty()
        self.world.at(start, worker.die if fails else worker.boot, None)

    def _stop_worker(self, command: commands.StopWorker) -> None:
        worker = self.world.checks.reachable(command.worker_id)
        worker.ending = True
        worker.deliver(worker.on_stop)

    def _kill_worker(self, command: commands.KillWorker) -> None:
        worker = self.world.checks.reachable(command.worker_id)
        worker.ending = True
        delay = self.world.settings.latency * worker.random.random()
        self.world.at(self.world.now + delay, worker.die, None)

    def _send_tasks(self, command: commands.SendTasks) -> None:
        tasks = [self.world.tasks[record.spec.id] for record in command.records]
        worker = self.world.checks.reachable(command.worker_id)
        for task in tasks:
            self.world.checks.task_is_sent(task, worker)
            task.holder = worker
            task.sent_at = self.world.now
            worker.assigned[task.id] = task
            if task.spec.actor and task.actor is not None:
                task.actor.sent(task)
        if command.helps:
            request = self.world.checks.helped_request(worker)
            worker.deliver(worker.on_help, (request, tasks))
        else:
            worker.deliver(worker.on_tasks, tasks)

    def _recall(self, command: commands.RecallTasks) -> None:
        worker = self.world.checks.reachable(command.worker_id)
        worker.deliver(worker.on_recall)

    def _interrupt(self, command: commands.InterruptTask) -> None:
        worker = self.world.checks.reachable(command.worker_id)
        task = self.world.tasks[command.task_id]
        worker.deliver(worker.on_interrupt, task)

    def _end_task(self, command: commands.EndTask) -> None:
        task = self.world.tasks[command.task_id]
        self.world.driver.settle(task, self.world.checks.failure_of(task, command))

    def _restart_actor(self, command: commands.RestartActor) -> None:
        self.world.driver.restarts(self.world.actors[command.actor_id])

    def _end_actor(self, command: commands.EndActor) -> None:
        self.world.checks.actor_ends(self.world.actors[command.actor_id])

    def _report_deadlock(self, command: commands.ReportDeadlock) -> None:
        worker = self.world.checks.reachable(command.worker_id)
        request = worker.requests.get(command.request_id)
        if request is not None:
            self.todo.append((self._answer_deadlock, request))

    def _answer_deadlock(self, request: SimRequest) -> None:
        self.world.driver.answer(request, "deadlock")

    # --- traces ---------------------------------------------------------------------------

    def _note(self, event: events.Event, decided: list[commands.Command]) -> None:
        """Add to a sum over all that went in and came out."""
        line = f"{self.world.now:.6f} {_text(event)} -> {' '.join(map(_text, decided))}"
        if self.world.log is not None:
            self.world.log.append(line)
        self.world.trace = zlib.crc32(line.encode(), self.world.trace or 0)


def _text(thing: Any) -> str:
    """Return an event or a command in one word, the same in every process."""
    parts = []
    for name in thing.__slots__:
        value = getattr(thing, name)
        if name == "records":
            value = [record.spec.id for record in value]
        parts.append(f"{name}={value}".replace(" ", ""))
    return f"{type(thing).__name__}({','.join(parts)})"
