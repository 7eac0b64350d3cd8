"""The tables of the scheduler, and the refusals of those who ask for what is not in them."""

from __future__ import annotations

from dataclasses import dataclass, field

from .commands import Refusal
from .records import Application, Instance, Session, Task
from .states import SessionState


class Refused(Exception):
    """A request cannot be carried out. Raised before anything has changed."""

    def __init__(self, why: Refusal, text: str) -> None:
        super().__init__(why, text)
        self.why = why
        self.text = text


@dataclass(slots=True)
class Tables:
    """All records, by name or id. Changed by the scheduler only; others may read."""

    applications: dict[str, Application] = field(default_factory=dict)
    sessions: dict[str, Session] = field(default_factory=dict)
    instances: dict[str, Instance] = field(default_factory=dict)  # leaving ones too

    def session(self, session_id: str) -> Session:
        """Return a session. Raises Refused with Flame's text for a missing one."""
        try:
            return self.sessions[session_id]
        except KeyError:
            raise Refused(Refusal.NOT_FOUND, f"Session {session_id} not found") from None

    def task(self, session_id: str, task_id: str) -> Task:
        """Return a task. Raises Refused: INVALID_ARGUMENT if the id is no number, or NOT_FOUND."""
        if not (task_id.isascii() and task_id.isdigit()):
            raise Refused(Refusal.INVALID_ARGUMENT, f"invalid task id: {task_id!r}")
        session = self.sessions.get(session_id)
        task = session.tasks.get(int(task_id)) if session else None
        if task is None:
            raise Refused(Refusal.NOT_FOUND, f"task {task_id} of session {session_id}")
        return task

    def sessions_of(self, application: str) -> list[Session]:
        """Return the sessions of an application, closed ones too."""
        return [s for s in self.sessions.values() if s.spec.application == application]

    def open_sessions_of(self, application: str) -> list[Session]:
        """Return the sessions of an application that are open."""
        return [s for s in self.sessions_of(application) if s.state is SessionState.OPEN]
