"""The scheduler of the local cluster: events in, commands out.

It knows no clock, file, process or socket, so it can be tested in microseconds and replayed.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from . import events as ev
from .commands import Command, Refuse, SaveSession, SaveTask, TellWatchers
from .limits import Limits
from .placement import Placement
from .records import (
    BIND_FAILED,
    RETRIES_EXHAUSTED,
    Application,
    Instance,
    Session,
    SessionEvent,
    Task,
)
from .requests import Requests
from .retention import Retention
from .states import InstanceState, InstanceStep, SessionState, TaskStep
from .tables import Refused, Tables

BIND_CODES: Final = {
    10: "application installation failed",
    11: "shim creation failed",
    12: "on_session_enter failed",
}


class Scheduler:
    """Decides which instance runs which task. Belongs to one thread."""

    def __init__(self, limits: Limits, node: str, instance_prefix: str = "") -> None:
        """Start with empty tables. Instances are named `instance_prefix` and a number."""
        self.tables = Tables()
        self._limits = limits
        self._node = node
        self._placement = Placement(self.tables, limits, instance_prefix)
        self._requests = Requests(self.tables, limits, self._placement)
        self._retention = Retention(self.tables, limits)

    def restore(
        self,
        now: float,
        applications: Iterable[Application],
        sessions: Iterable[Session],
        tasks: Iterable[Task],
    ) -> list[Command]:
        """Take in what an earlier scheduler has saved. Called once, before any event."""
        self.tables.applications = {a.name: a for a in applications}
        self.tables.sessions = {s.id: s for s in sessions}
        for task in tasks:
            self.tables.sessions[task.session_id].add(task)
        commands: list[Command] = []
        for session in sorted(self.tables.sessions.values(), key=lambda s: s.ended):
            if session.state is SessionState.OPEN:
                commands += self._placement.settle(now, session)
            else:
                commands += self._retention.session_closed(session)
        return commands

    def handle(self, now: float, event: ev.Event) -> list[Command]:
        """Take in one event; return what must now be done, in order. `now` never goes back."""
        try:
            return self._handle(now, event)
        except Refused as refused:
            return [Refuse(refused.why, refused.text)]

    def _handle(self, now: float, event: ev.Event) -> list[Command]:
        requests = self._requests
        match event:
            case ev.CreateTask(session_id):
                commands = requests.create_task(now, event)
                return commands + self._settle(now, session_id)
            case ev.TaskReturned():
                return self._task_returned(now, event)
            case ev.InstanceEntered(instance_id):
                return self._entered(now, self.tables.instances[instance_id])
            case ev.InstanceFailed():
                return self._failed(now, event)
            case ev.InstanceLost():
                return self._lost(now, event)
            case ev.InstanceGone(instance_id):
                self.tables.instances.pop(instance_id).advance(InstanceStep.ENDED)
                return self._placement.settle(now)
            case ev.TimePassed():
                return self._placement.idle(now)
            case ev.RegisterApplication():
                return requests.register(now, event)
            case ev.UpdateApplication():
                return requests.update(event)
            case ev.UnregisterApplication():
                return requests.unregister(event)
            case ev.CreateSession(session_id):
                commands = requests.create_session(now, event)
                return commands + self._settle(now, session_id)
            case ev.OpenSession(session_id):
                commands = requests.open_session(now, event)
                return commands + self._settle(now, session_id)
            case ev.CloseSession():
                return self._close(now, event)
            case ev.DeleteSession():
                return requests.delete_session(event)
            case ev.OwnerGone():
                return requests.owner_gone(now, event) + self._placement.settle(now)
            case _:
                raise AssertionError(f"unknown event {event!r}")

    def _settle(self, now: float, session_id: str) -> list[Command]:
        return self._placement.settle(now, self.tables.sessions.get(session_id))

    def _close(self, now: float, event: ev.CloseSession) -> list[Command]:
        commands = self._requests.close_session(now, event)
        session = self.tables.sessions[event.session_id]
        return commands + self._retention.session_closed(session) + self._settle(now, session.id)

    # --- instances ----------------------------------------------------------------------

    def _entered(self, now: float, instance: Instance) -> list[Command]:
        instance.advance(InstanceStep.ENTERED)
        if instance.state is InstanceState.LEAVING:
            return []
        session = self.tables.sessions[instance.session_id]
        return [
            *self._placement.freed(now, session, instance),
            *self._placement.settle(now, session),
        ]

    def _task_returned(self, now: float, event: ev.TaskReturned) -> list[Command]:
        instance = self.tables.instances[event.instance_id]
        instance.advance(InstanceStep.RETURNED)
        if instance.state is InstanceState.LEAVING or instance.task is None:
            return []  # told to end while its task ran; the task has ended otherwise
        session = self.tables.sessions[instance.session_id]
        task, instance.task = instance.task, None
        instance.served += 1
        session.failed_binds = 0  # not when it entered: one that ends right after has not worked
        session.exhausted = False
        task.ended = now
        if event.return_code == 0:
            task.output = event.output
            session.step(task, TaskStep.RETURNED)
        else:
            task.message = event.message or f"the service returned {event.return_code}"
            session.step(task, TaskStep.FAILED)
        return [
            SaveTask(task),
            TellWatchers(task),
            *self._retention.task_ended(session),
            *self._placement.freed(now, session, instance),
            *self._placement.settle(now, session),
        ]

    def _lost(self, now: float, event: ev.InstanceLost) -> list[Command]:
        instance = self.tables.instances.pop(event.instance_id)
        was = instance.state
        instance.advance(InstanceStep.ENDED)
        if was is InstanceState.LEAVING:
            return self._placement.settle(now)
        session = self.tables.sessions[instance.session_id]
        self._placement.removed(session, instance)
        commands: list[Command] = []
        if instance.task is not None and event.task_sent:
            commands = self._fail(now, session, instance.task, event.reason)
        elif instance.task is not None:
            session.requeue(instance.task)
            commands = [TellWatchers(instance.task)]
        elif not instance.served:
            # It entered and ended at once: starting the next one is another attempt to bind.
            commands = self._bind_failed(now, session, instance.id, 12, event.reason)
        return commands + self._placement.settle(now, session)

    def _failed(self, now: float, event: ev.InstanceFailed) -> list[Command]:
        instance = self.tables.instances.pop(event.instance_id)
        was = instance.state
        instance.advance(InstanceStep.ENDED)
        if was is InstanceState.LEAVING:
            return self._placement.settle(now)
        session = self.tables.sessions[instance.session_id]
        self._placement.removed(session, instance)
        commands = self._bind_failed(now, session, instance.id, event.code, event.detail)
        return commands + self._placement.settle(now, session)

    def _bind_failed(
        self, now: float, session: Session, instance_id: str, code: int, detail: str
    ) -> list[Command]:
        what = BIND_CODES.get(code)
        reason = f"{what}: {detail}" if what else detail
        session.failed_binds += 1
        session.events.append(
            SessionEvent(
                BIND_FAILED,
                f"Executor {instance_id} on node {self._node} failed to bind session with "
                f"return_code {code}: {reason}",
                now,
            )
        )
        commands: list[Command] = []
        attempts = self._limits.bind_attempts
        if session.failed_binds >= attempts and not session.exhausted:
            session.exhausted = True
            session.events.append(
                SessionEvent(
                    RETRIES_EXHAUSTED,
                    f"Session retry limit reached after {session.failed_binds}/{attempts} failed "
                    "attempts; waiting tasks fail, and a new task is one more attempt",
                    now,
                )
            )
        if session.exhausted and not session.instances:
            text = f"no instance of session {session.id} can be started: {reason}"
            while session.pending:
                commands += self._fail(now, session, session.pop_pending(), text)
        return [*commands, SaveSession(session)]

    def _fail(self, now: float, session: Session, task: Task, message: str) -> list[Command]:
        task.ended = now
        task.message = message
        session.step(task, TaskStep.FAILED)
        return [SaveTask(task), TellWatchers(task), *self._retention.task_ended(session)]
