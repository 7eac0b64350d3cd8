"""The engine's core: feeds the scheduler with what happens, and does what it decides.

Every method is called inside a turn, unless it says otherwise.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Final

from flame_remote._config import Config
from flame_remote._ids import ActorId, ObjectId, TaskId
from flame_remote._outcome import Kind
from flame_remote._scheduling import commands, events
from flame_remote._scheduling.living import LivingTargets
from flame_remote._scheduling.scheduler import Scheduler

from .arena import SEGMENT_SHIFT
from .crew import Crew
from .endings import Endings
from .inbound import Inbound
from .intake import Intake
from .mapping import MappingCache
from .memory_watch import MemoryWatch
from .messages import Free, Retire
from .objects import ObjectTable, StoredObject, report_all_unread
from .observing import Records
from .outbound import Outbound
from .poller import Poller
from .questions import Questions
from .revival import Revivals
from .room import Room
from .segments import Segments
from .spawning import SpawnerHandle
from .values import Location, Storage
from .waits import CallbackWatcher, RemoteRequest

_FAILED: Final = int(Kind.FAILED)


class Core:
    """The driver's state: scheduler, objects, workers, spawner."""

    def __init__(self, session: str, config: Config, spawner: SpawnerHandle) -> None:
        # Constant after construction.
        self.mappings = MappingCache()
        self.storage: Storage  # set by the engine, whose memory it is
        # Appended to by any thread, taken inside a turn.
        self.new_watchers: deque[tuple[StoredObject, CallbackWatcher]] = deque()
        self._closed = False
        self.drain_is_due = False  # somebody has been woken to drain
        self.ref_events: deque[int] = deque()
        self.unpinned: deque[ObjectId] = deque()  # as in LocalCounts, for the driver itself
        # Taken outside a turn.
        self.callbacks: deque[Callable[[], None]] = deque()
        # Guarded by self._turn; the scheduler's and the objects' tables may be read at any time.
        self.scheduler = Scheduler(config.amounts())
        self.objects = ObjectTable()
        self.records = Records(self, timeline=config.timeline)
        self.targets = LivingTargets()
        self.lineage = self.objects.lineage
        self.segments = Segments(config.store_bytes, self.mappings, lambda: self.wake_loop())
        self.room = Room(self)
        self.poller = Poller()
        self.wake_loop: Callable[[], None] = lambda: None
        self.give_up: Callable[[str], None] = lambda reason: None
        self.answerable: deque[RemoteRequest] = deque()
        try:
            self.crew = Crew(self, session, config.amounts(), config.gpus, spawner)
        except BaseException:
            self.poller.close()
            raise
        self.revivals = Revivals(self.objects)
        self._intake = Intake(self.objects, self.revivals, self.scheduler.tasks, self.feed)
        self.inbox = self._intake.inbox  # as above: appended to by any thread
        self.endings = Endings(self.objects, self.crew.workers)
        self.memory = MemoryWatch(self)
        self.inbound = Inbound(self)
        self.questions = Questions(self)
        self._outbound = Outbound(self)
        self._perform: dict[type, Callable[[Any], None]] = {
            commands.StartWorker: self.crew.start_worker,
            commands.StopWorker: self.crew.stop_worker,
            commands.KillWorker: self.crew.kill_worker,
            commands.SendTasks: self._outbound.send_tasks,
            commands.RecallTasks: self.crew.recall,
            commands.InterruptTask: self.crew.interrupt,
            commands.EndTask: self._end_task,
            commands.RestartActor: self._restart_actor,
            commands.EndActor: self.revivals.ended,
            commands.ReportDeadlock: self._outbound.report_deadlock,
        }

    # --- driving ------------------------------------------------------------------------

    def drain(self) -> None:
        """Take in what other threads have left: calls first, for they hold what refs let go."""
        if self._closed:
            return
        self.drain_is_due = False
        self.take_watchers()
        number = len(self.ref_events)
        if self.inbox:
            self._intake.take_calls()
        if number:
            self.objects.apply(self.ref_events, number)
        while self.unpinned:
            self.objects.unpin(self.unpinned.popleft())
        if self.targets.events:
            for target_id in self.targets.take_dead():
                self._outbound.unload(target_id)
        if self.objects.freed or self.objects.gone:
            self._let_go()
        if self.new_watchers:  # of calls above that have failed at once
            self.take_watchers()

    def take_watchers(self) -> None:
        """Take in the callbacks that other threads have left."""
        while self.new_watchers:
            stored, watcher = self.new_watchers.popleft()
            if stored.kind:
                watcher.note(0, stored)
            elif stored.watchers is None:
                stored.watchers = [watcher]
            else:
                stored.watchers.append(watcher)

    def feed(self, event: events.Event) -> None:
        """Tell the scheduler, do what it says, answer those whose wait is over by that."""
        self.perform(self.decide(event))
        self.settle_requests()

    def decide(self, event: events.Event) -> list[commands.Command]:
        """Tell the scheduler; return what it wants done, in order."""
        return self.scheduler.handle(time.monotonic(), event)

    def end_tasks(self, decided: list[commands.Command]) -> set[TaskId]:
        """Do first, and take out, what ends tasks; return which those are."""
        endings = [command for command in decided if type(command) is commands.EndTask]
        for command in endings:
            if command.ending in commands.STOPPED:
                self._end_task(command)
        return {command.task_id for command in endings}

    def perform(self, decided: Sequence[commands.Command]) -> None:
        """Do what the scheduler has decided."""
        perform = self._perform
        for command in decided:
            perform[type(command)](command)
        while self.crew.unstarted:  # by what is above
            worker_id = self.crew.unstarted.popleft()
            self.perform(self.decide(events.WorkerLost(worker_id, 0)))
        if self.scheduler.next_tick is not None or self.memory.next_look is not None:
            self.wake_loop()

    def settle_requests(self) -> None:
        """Answer requests of tasks that can be answered now."""
        if self.new_watchers:  # left just before what they watch was settled; see `on_done`
            self.take_watchers()
        while self.answerable:
            self._outbound.answer(self.answerable.popleft())
        while self.lineage.doomed:
            self.cancel(self.lineage.doomed.popleft(), force=False)
        if self.objects.freed or self.objects.gone:
            self._let_go()

    def next_timer(self) -> float | None:
        """Return when `on_timer` is due, on time.monotonic(). Any thread, at any time."""
        tick, look = self.scheduler.next_tick, self.memory.next_look
        return tick if look is None else look if tick is None else min(tick, look)

    def holds_values(self) -> bool:
        """Say whether values lie in shared memory. Any thread, at any time."""
        return self.segments.live_bytes > 0

    def on_bug(self, error: Exception) -> None:
        """Something in here is wrong: end in the open, not in silence. Outside a turn."""
        import logging

        logging.getLogger("flame_remote").error("the engine has failed", exc_info=error)
        self.give_up(f"the engine has failed, please report this: {error!r}")

    def on_timer(self) -> None:
        """A timer is due."""
        now, tick = time.monotonic(), self.scheduler.next_tick
        self.memory.look(now)
        if tick is not None and tick <= now:
            self.feed(events.Tick())

    def after_turn(self) -> None:
        """Do what may run user code, or block: outside a turn, in any thread."""
        self.crew.print_output()
        while self.callbacks:
            self.callbacks.popleft()()
        if self.objects.unread:
            report_all_unread(self.objects.unread)

    def _let_go(self) -> None:
        """Free the memory of objects that are gone; end actors that nobody refers to."""
        objects = self.objects
        while objects.freed:
            self.free(objects.freed.popleft())
        while self.segments.retired:
            segment = self.segments.retired.popleft()
            for worker in self.crew.workers.values():
                if segment in worker.segments:
                    worker.segments.remove(segment)
                    self.crew.send(worker, Retire(segment))
        while objects.gone:
            actor_id = objects.gone.popleft()
            self.revivals.names.forget(actor_id)
            self.feed(events.ActorReleased(actor_id))

    def free(self, location: Location) -> None:
        """Give a stored value's memory back to its owner."""
        if self.room.free(location):
            return
        segment, offset, size, _ = location
        if not self.segments.value_freed(segment, size):
            return
        owner = self.crew.workers.get(segment >> SEGMENT_SHIFT)
        if owner is not None:
            self.crew.send(owner, Free([(segment, offset, size)]))
        else:
            self.storage.free(segment, offset, size)

    def _end_task(self, command: commands.EndTask) -> None:
        stored = self.objects.by_id.get(command.task_id)
        if stored is not None and stored.spec is not None:
            failure = self.endings.failure(command, stored.spec)
            self.objects.settle(command.task_id, _FAILED, failure, ())

    def _restart_actor(self, command: commands.RestartActor) -> None:
        self.endings.actor_restarts(command.actor_id, command.restarts)
        self.revivals.begin_again(self.scheduler.actors.table[command.actor_id].creation.spec)

    # --- wishes ---------------------------------------------------------------------------

    def cancel(self, object_id: ObjectId, force: bool, recursive: bool = False) -> bool:
        """Cancel a task, and with `recursive` what it has started; False if it has ended."""
        stored = self.objects.by_id.get(object_id)
        record = self.scheduler.maker_of(object_id)
        if stored is None or stored.kind or record is None:
            return False
        object_id = record.spec.id
        # Noted before the task can end by this: what it still starts is cancelled as it comes.
        started = self.lineage.cancel(object_id) if recursive else ()
        running = self.crew.progress.last_started(record.worker_id) == object_id
        self.feed(events.CancelRequested(object_id, force, running))
        for child in started:
            self.cancel(child, force)
        return True

    def unfinished_in(self, scope_id: TaskId) -> list[TaskId]:
        """Return the calls in a scope that have not ended."""
        by_id = self.objects.by_id
        return [i for i in self.lineage.descendants(scope_id) if i in by_id and not by_id[i].kind]

    def cancel_scope(self, scope_id: TaskId, force: bool) -> int:
        """Cancel what was started in a scope, and what it will start; return how many calls."""
        number = len(self.unfinished_in(scope_id))
        for task_id in self.lineage.cancel(scope_id):
            self.cancel(task_id, force)
        return number

    def kill_actor(self, actor_id: ActorId, *, may_restart: bool) -> None:
        """End an actor now, or only its process."""
        if not may_restart and actor_id in self.scheduler.actors.table:
            self.endings.actor_ended(actor_id, "it was ended by flame.kill()")
        self.feed(events.ActorKilled(actor_id, may_restart))

    def actor_exits(self, actor_id: ActorId, how: str) -> None:
        """An actor has decided to end."""
        if actor_id in self.scheduler.actors.table:  # else it was killed meanwhile
            self.endings.actor_ended(actor_id, how)
        self.feed(events.ActorExited(actor_id))

    def close(self) -> None:
        """End all processes and give all memory back."""
        self._closed = True
        self.crew.close()
        self.room.close()
        self.segments.close()
        self.mappings.close()
        self.poller.close()
