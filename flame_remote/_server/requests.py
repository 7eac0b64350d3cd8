"""What clients may ask of the scheduler, with the rules and texts of Flame's `fs` storage."""

from __future__ import annotations

import re
from typing import Final

from flame_remote._proto import types_pb2

from . import events as ev
from .commands import (
    Answer,
    Command,
    DropObjects,
    ForgetApplication,
    ForgetSession,
    Refusal,
    SaveApplication,
    SaveSession,
    SaveTask,
    TellWatchers,
)
from .limits import Limits
from .placement import Placement
from .records import DEFAULT_DELAY_RELEASE, DEFAULT_MAX_INSTANCES, Application, Session, Task
from .states import SessionState, TaskState, TaskStep
from .tables import Refused, Tables

_NAME: Final = re.compile(r"(?![.-])(?!.*\.\.)[A-Za-z0-9._-]{1,253}\Z")
OWNER_GONE: Final = "the process that this application belongs to has ended"


class Requests:
    """Carries out requests on the tables; says what else is to be done."""

    def __init__(self, tables: Tables, limits: Limits, placement: Placement) -> None:
        self._tables = tables
        self._placement = placement
        self._limits = limits

    # --- applications -------------------------------------------------------------------

    def register(self, now: float, event: ev.RegisterApplication) -> list[Command]:
        """Add an application. Refused for a bad name and for one that exists."""
        if not _NAME.match(event.name):
            raise Refused(
                Refusal.RESULT,
                f"invalid application name {event.name!r}: expected 1 to 253 letters, digits, "
                "'.', '_' or '-', the first no '.' or '-', and no '..'",
            )
        if event.name in self._tables.applications:
            raise Refused(Refusal.RESULT, f"Application '{event.name}' already exists")
        application = Application(event.name, _with_defaults(event.spec), now, event.owner)
        self._tables.applications[event.name] = application
        return [SaveApplication(application), Answer(application)]

    def update(self, event: ev.UpdateApplication) -> list[Command]:
        """Replace the spec of an application that has no open session."""
        application = self._unused("update", event.name)
        application.spec = _with_defaults(event.spec)
        return [SaveApplication(application), Answer(application)]

    def unregister(self, event: ev.UnregisterApplication) -> list[Command]:
        """Remove an application that has no open session, and its closed ones."""
        application = self._unused("unregister", event.name)
        return [*self._remove(application), Answer(application)]

    def owner_gone(self, now: float, event: ev.OwnerGone) -> list[Command]:
        """Remove an application whatever its sessions do, with its objects.

        One whose package lies outside the cluster stays, without sessions and objects: it says
        where that is, and the next Runner of its name removes both.
        """
        application = self._tables.applications.get(event.name)
        if application is None or application.owner != event.owner:
            return []
        commands: list[Command] = []
        for session in self._tables.open_sessions_of(event.name):
            for task in [t for t in session.tasks.values() if t.state is TaskState.RUNNING]:
                task.message = OWNER_GONE
                task.ended = now
                session.step(task, TaskStep.FAILED)
                commands += [SaveTask(task), TellWatchers(task)]
            commands += self._close(now, session, kill=True)
        if _lies_elsewhere(application.spec.url):
            application.owner = ""
            return [*commands, SaveApplication(application), DropObjects(event.name)]
        return [*commands, *self._remove(application), DropObjects(event.name)]

    def _unused(self, verb: str, name: str) -> Application:
        application = self._tables.applications.get(name)
        if application is None:
            raise Refused(Refusal.RESULT, f"Application {name} not found")
        if self._tables.open_sessions_of(name):
            raise Refused(Refusal.RESULT, f"Cannot {verb} application '{name}': has open sessions")
        return application

    def _remove(self, application: Application) -> list[Command]:
        commands: list[Command] = []
        for session in self._tables.sessions_of(application.name):
            del self._tables.sessions[session.id]
            commands.append(ForgetSession(session.id))
        del self._tables.applications[application.name]
        return [*commands, ForgetApplication(application.name)]

    # --- sessions -----------------------------------------------------------------------

    def create_session(self, now: float, event: ev.CreateSession) -> list[Command]:
        """Open a new session of an application that exists."""
        if event.session_id in self._tables.sessions:
            raise Refused(Refusal.ALREADY_EXISTS, f"Session '{event.session_id}' already exists")
        if not event.session_id:
            raise Refused(Refusal.INVALID_ARGUMENT, "a session needs an id")
        if event.spec.application not in self._tables.applications:
            raise Refused(
                Refusal.NOT_FOUND,
                f"Application {event.spec.application} not found: register it first",
            )
        _check_batches(event.spec)
        session = Session(event.session_id, self._resolved(event.spec), now)
        self._tables.sessions[session.id] = session
        return [SaveSession(session), Answer(session)]

    def open_session(self, now: float, event: ev.OpenSession) -> list[Command]:
        """Return the open session of this id, if it is as the spec says; else create it."""
        session = self._tables.sessions.get(event.session_id)
        if session is None and event.spec is not None:
            return self.create_session(now, ev.CreateSession(event.session_id, event.spec))
        session = self._tables.session(event.session_id)
        if session.state is not SessionState.OPEN:
            raise Refused(Refusal.INVALID_ARGUMENT, f"Session {session.id} is not open")
        if event.spec is not None:
            _compare(session, self._resolved(event.spec))
        return [Answer(session)]

    def close_session(self, now: float, event: ev.CloseSession) -> list[Command]:
        """Close a session in which no task runs; a closed one stays as it is."""
        session = self._tables.sessions.get(event.session_id)
        if session is None:
            raise Refused(Refusal.NOT_FOUND, f"session <{event.session_id}>")
        if session.state is SessionState.CLOSED:
            return [Answer(session)]
        if session.busy:
            raise Refused(Refusal.INTERNAL, "Cannot close session with running tasks")
        return [*self._close(now, session), Answer(session)]

    def delete_session(self, event: ev.DeleteSession) -> list[Command]:
        """Forget a closed session."""
        session = self._tables.session(event.session_id)
        if session.state is SessionState.OPEN:
            raise Refused(Refusal.INTERNAL, "Cannot delete open session")
        del self._tables.sessions[session.id]
        return [ForgetSession(session.id), Answer(session)]

    def _close(self, now: float, session: Session, kill: bool = False) -> list[Command]:
        commands: list[Command] = []
        session.state = SessionState.CLOSED
        session.ended = now
        while session.pending:
            task = session.pop_pending()
            task.ended = now
            session.step(task, TaskStep.CANCELLED)
            commands += [SaveTask(task), TellWatchers(task)]
        for instance in list(session.instances.values()):
            commands += self._placement.stop(session, instance, kill)
        return [*commands, SaveSession(session)]

    def _resolved(self, spec: types_pb2.SessionSpec) -> types_pb2.SessionSpec:
        resolved = types_pb2.SessionSpec()
        resolved.CopyFrom(spec)
        resolved.batch_size = max(spec.batch_size, 1)
        if not resolved.HasField("resreq"):
            resolved.resreq.CopyFrom(self._limits.default_resources())
        return resolved

    # --- tasks --------------------------------------------------------------------------

    def create_task(self, now: float, event: ev.CreateTask) -> list[Command]:
        """Queue a task in an open session."""
        session = self._tables.session(event.session_id)
        if session.state is SessionState.CLOSED:
            raise Refused(Refusal.INVALID_ARGUMENT, "Cannot create task in closed session")
        task = Task(session.id, session.last_number + 1, event.input, now)
        session.add(task)
        return [SaveTask(task), Answer(task)]


def _lies_elsewhere(url: str) -> bool:
    """Say whether a package outlives the objects of its application."""
    return bool(url) and not url.startswith(("grpc://", "grpcs://"))


def _with_defaults(spec: types_pb2.ApplicationSpec) -> types_pb2.ApplicationSpec:
    filled = types_pb2.ApplicationSpec()
    filled.CopyFrom(spec)
    if not filled.HasField("max_instances"):
        filled.max_instances = DEFAULT_MAX_INSTANCES
    if not filled.HasField("delay_release"):
        filled.delay_release = DEFAULT_DELAY_RELEASE
    return filled


def _check_batches(spec: types_pb2.SessionSpec) -> None:
    """Raise Refused if the bounds of the number of instances are no whole number of batches."""
    for name in ("min_instances", "max_instances"):
        number = getattr(spec, name)
        if number % max(spec.batch_size, 1):
            raise Refused(
                Refusal.INVALID_ARGUMENT,
                f"{name} is {number}, expected a multiple of batch_size ({spec.batch_size}) or 0",
            )


def _compare(session: Session, spec: types_pb2.SessionSpec) -> None:
    """Raise Refused for the first field that makes the spec another one than the session's."""
    have, given = session.spec, spec
    pairs = {
        "application": (have.application, given.application),
        "resreq": (_resources(have.resreq), _resources(given.resreq)),
        "min_instances": (have.min_instances, given.min_instances),
        "max_instances": (_maximum(have), _maximum(given)),
        "batch_size": (have.batch_size, given.batch_size),
        "priority": (have.priority, given.priority),
    }
    for name, (expected, got) in pairs.items():
        if expected != got:
            raise Refused(
                Refusal.INVALID_ARGUMENT,
                f"session {session.id} spec mismatch: {name} differs "
                f"(expected {expected}, got {got})",
            )


def _maximum(spec: types_pb2.SessionSpec) -> int | None:
    return spec.max_instances if spec.HasField("max_instances") else None


def _resources(resources: types_pb2.ResourceRequirement) -> str:
    return f"cpu={resources.cpu},mem={resources.memory},gpu={resources.gpu}"
