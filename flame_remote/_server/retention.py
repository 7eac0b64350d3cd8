"""What is forgotten, so that a cluster that runs for months does not fill memory and disk."""

from __future__ import annotations

from collections import OrderedDict

from .commands import Command, ForgetSession, ForgetTask
from .limits import Limits
from .records import Session
from .states import SessionState
from .tables import Tables


class Retention:
    """Forgets the oldest ended tasks and closed sessions. Part of the scheduler."""

    def __init__(self, tables: Tables, limits: Limits) -> None:
        self._tables = tables
        self._limits = limits
        self._closed: OrderedDict[str, None] = OrderedDict()  # ids, the first closed first

    def task_ended(self, session: Session) -> list[Command]:
        """Forget the tasks of a session that are too many; its counts keep them."""
        commands: list[Command] = []
        while len(session.ended_tasks) > self._limits.ended_tasks:
            number = session.ended_tasks.popleft()
            del session.tasks[number]
            commands.append(ForgetTask(session.id, number))
        return commands

    def session_closed(self, session: Session) -> list[Command]:
        """Forget the closed sessions that are too many."""
        self._closed[session.id] = None
        self._closed.move_to_end(session.id)
        commands: list[Command] = []
        while len(self._closed) > self._limits.closed_sessions:
            session_id, _ = self._closed.popitem(last=False)
            old = self._tables.sessions.get(session_id)
            if old is not None and old.state is SessionState.CLOSED:  # the id may be used again
                del self._tables.sessions[session_id]
                commands.append(ForgetSession(session_id))
        return commands
