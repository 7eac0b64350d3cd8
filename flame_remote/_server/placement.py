"""Which instance gets which task, and how many instances each session has.

Tasks go to a free instance first, the one that was busy most recently. More instances are started
when tasks wait and none is free: each session with work gets its first and its minimum at once, and
further ones while the limit lasts, high priority and few instances first.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable

from .commands import Command, RunTask, StartInstance, StopInstance, TellWatchers, WakeAt
from .limits import Limits
from .records import Instance, Session
from .states import InstanceState, InstanceStep, TaskStep
from .tables import Tables


class Placement:
    """Assigns tasks, starts and stops instances. Part of the scheduler."""

    def __init__(self, tables: Tables, limits: Limits, instance_prefix: str) -> None:
        self._tables = tables
        self._limits = limits
        self._prefix = instance_prefix
        self._last_number = 0
        self._living = 0  # instances that are not leaving
        self._needy: dict[str, Session] = {}  # sessions that could use more instances
        self._idle_clock: list[tuple[float, str]] = []  # a heap: when to look at an instance
        self._alarm = float("inf")

    # --- what has changed ---------------------------------------------------------------

    def removed(self, session: Session, instance: Instance) -> None:
        """Take an instance out of its session: it has ended, or is told to end."""
        self._living -= 1
        del session.instances[instance.id]
        if instance in session.free:
            session.free.remove(instance)

    def stop(self, session: Session, instance: Instance, kill: bool = False) -> list[Command]:
        """Tell an instance to end; `kill`: at once."""
        self.removed(session, instance)
        instance.advance(InstanceStep.STOPPED)
        return [StopInstance(instance.id, kill)]

    def freed(self, now: float, session: Session, instance: Instance) -> list[Command]:
        """An instance can take a task; it ends if none comes for long enough."""
        instance.free_since = now
        session.free.append(instance)
        if instance.watched:
            return []
        instance.watched = True
        heapq.heappush(self._idle_clock, (now + self._delay(session), instance.id))
        return self._set_alarm()

    # --- what follows -------------------------------------------------------------------

    def settle(self, now: float, session: Session | None = None) -> list[Command]:
        """Give waiting tasks to free instances and start what is missing, anywhere."""
        commands: list[Command] = []
        if session is not None:
            commands += self._assign(now, session)
            self._note_need(session)
        if self._needy:
            for needy in sorted(self._needy.values(), key=_urgency):
                commands += self._start(now, needy)
        return commands

    def idle(self, now: float) -> list[Command]:
        """End the instances that have been free for as long as their application keeps them."""
        commands: list[Command] = []
        while self._idle_clock and self._idle_clock[0][0] <= now:
            _, instance_id = heapq.heappop(self._idle_clock)
            instance = self._tables.instances.get(instance_id)
            session = self._tables.sessions.get(instance.session_id) if instance else None
            if instance is None or session is None or instance.state is InstanceState.LEAVING:
                continue
            due = instance.free_since + self._delay(session)
            if instance.state is InstanceState.BUSY:
                instance.watched = False  # until it is free again
            elif due > now:
                heapq.heappush(self._idle_clock, (due, instance_id))
            elif len(session.instances) <= session.spec.min_instances:
                # It may leave when the session has more than its minimum.
                heapq.heappush(
                    self._idle_clock, (now + max(1.0, self._delay(session)), instance_id)
                )
            else:
                commands += self.stop(session, instance)
        self._alarm = float("inf")
        return commands + self._set_alarm()

    def _set_alarm(self) -> list[Command]:
        if not self._idle_clock or self._idle_clock[0][0] >= self._alarm:
            return []
        self._alarm = self._idle_clock[0][0]
        return [WakeAt(self._alarm)]

    def _delay(self, session: Session) -> float:
        application = self._tables.applications.get(session.spec.application)
        return application.delay_release if application else 0.0

    def _assign(self, now: float, session: Session) -> list[Command]:
        commands: list[Command] = []
        while session.pending and session.free:
            task, instance = session.pop_pending(), session.free.pop()
            session.step(task, TaskStep.SENT)
            task.started = now
            instance.advance(InstanceStep.SENT)
            instance.task = task
            commands += [TellWatchers(task), RunTask(instance.id, task)]
        return commands

    def _note_need(self, session: Session) -> None:
        application = self._tables.applications.get(session.spec.application)
        runs_here = application is not None and application.runs_here
        if runs_here and session.wanted_instances > len(session.instances):
            self._needy[session.id] = session
        else:
            self._needy.pop(session.id, None)

    def _start(self, now: float, session: Session) -> list[Command]:
        commands: list[Command] = []
        while session.wanted_instances > len(session.instances) and self._may_start(session):
            room = self._make_room(session)
            if room is None:
                break
            commands += room
            commands.append(self._start_one(now, session))
        self._note_need(session)
        return commands

    def _start_one(self, now: float, session: Session) -> Command:
        self._last_number += 1
        instance = Instance(f"{self._prefix}{self._last_number}", session.id, now)
        self._tables.instances[instance.id] = instance
        session.instances[instance.id] = instance
        self._living += 1
        application = self._tables.applications[session.spec.application]
        return StartInstance(instance, session, application)

    def _may_start(self, session: Session) -> bool:
        starting = session.starting
        if session.exhausted:
            # One attempt while tasks wait for it; none to add to instances that work.
            return not session.instances and bool(session.pending)
        if session.failed_binds:
            return starting == 0  # one after the other, until one has worked
        return starting < self._limits.starting

    def _make_room(self, session: Session) -> list[Command] | None:
        """Return what must be done so that one more instance may start, None if nothing helps."""
        limits = self._limits
        if self._living < limits.instances:
            return []
        if len(session.instances) >= max(1, session.spec.min_instances):
            return self._reclaim(session, lambda other: max(1, other.spec.min_instances))
        if self._living < limits.overcommit:
            return []
        if session.instances or not session.pending:
            return None  # it has what it needs; its minimum comes when there is room
        return self._reclaim(session, lambda other: 0)

    def _reclaim(self, session: Session, kept: Callable[[Session], int]) -> list[Command] | None:
        """Stop the instance that has been free for longest, of a session with more than `kept`."""
        candidates = [
            (instance.free_since, instance, other)
            for instance in self._tables.instances.values()
            if instance.state is InstanceState.FREE and instance.session_id != session.id
            for other in (self._tables.sessions[instance.session_id],)
            if len(other.instances) > kept(other)
        ]
        if not candidates:
            return None
        _, instance, other = min(candidates, key=lambda candidate: candidate[0])
        commands = self.stop(other, instance)
        self._note_need(other)
        return commands


def _urgency(session: Session) -> tuple[int, int, float]:
    return (-session.spec.priority, len(session.instances), session.created)
