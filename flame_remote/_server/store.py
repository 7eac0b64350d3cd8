"""What outlives the session manager: applications, sessions and tasks in an SQLite database.

Changes are queued and committed together, once for each turn of the loop; a client is answered
after the commit. A commit survives the end of the process at any instant (write-ahead log); it is
not forced to the disk, so a power cut may take the last moments with it.

What is in the log has to be moved into the database some time, and that waits for the disk: 5 ms
on a quiet one, 20 ms and more on a busy one. SQLite would do it within every 300th commit or so of
a lone task; it is done when nothing else is to be done instead.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable
from contextlib import closing, suppress
from pathlib import Path
from typing import Final

from flame_remote._proto import types_pb2

from .records import Application, Session, SessionEvent, Task
from .states import SessionState, TaskState

FORMAT: Final = 1  # PRAGMA user_version
_LOG_PAGES: Final = 16_384  # 64 MiB: a log of more is moved within a commit, pause or no pause

_TABLES: Final = """
CREATE TABLE applications (name TEXT PRIMARY KEY, spec BLOB, created REAL, owner TEXT);
CREATE TABLE sessions (id TEXT PRIMARY KEY, spec BLOB, created REAL, state INTEGER, ended REAL,
                       events TEXT);
CREATE TABLE tasks (session_id TEXT, number INTEGER, state INTEGER, created REAL, started REAL,
                    ended REAL, message TEXT, input BLOB, output BLOB,
                    PRIMARY KEY (session_id, number));
"""


class StoreError(Exception):
    """The database cannot be used; the text names the file and says why."""


class Store:
    """The database. Belongs to one thread; every method blocks for as long as the disk takes."""

    def __init__(self, path: Path) -> None:
        """Open the database, or create it. Raises StoreError."""
        self._path = path
        self._applications: dict[str, Application | None] = {}  # None: to be deleted
        self._sessions: dict[str, Session] = {}
        self._gone_sessions: set[str] = set()  # deleted before anything is written
        self._tasks: dict[tuple[str, int], Task] = {}
        self._gone_tasks: list[tuple[str, int]] = []
        try:
            self._database = sqlite3.connect(path, isolation_level=None, timeout=0.2)
            self._prepare()
        except sqlite3.Error as error:
            raise StoreError(f"{path}: {error}") from error

    def _prepare(self) -> None:
        database = self._database
        database.execute("PRAGMA locking_mode = EXCLUSIVE")  # a second manager fails at once
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("PRAGMA synchronous = NORMAL")
        database.execute(f"PRAGMA wal_autocheckpoint = {_LOG_PAGES}")
        database.execute("BEGIN IMMEDIATE")
        (version,) = database.execute("PRAGMA user_version").fetchone()
        if version == 0 and not _columns(database):
            _make_tables(database)
            database.execute(f"PRAGMA user_version = {FORMAT}")
            version = FORMAT
        database.execute("COMMIT")
        # Columns too: told now, rather than by the first write, which would end the manager.
        if version != FORMAT or _columns(database) != _expected_columns():
            database.close()
            kept = f"format {version}" if version != FORMAT else "other tables"
            raise StoreError(
                f"{self._path} was written by another version or program: it has {kept}, "
                f"this version reads format {FORMAT}; move the file away, or use another data "
                "folder, to start without its sessions"
            )

    # --- reading ------------------------------------------------------------------------

    def load(self) -> tuple[list[Application], list[Session], list[Task]]:
        """Return everything that is kept; of ended tasks without input and output."""
        applications = [
            Application(name, types_pb2.ApplicationSpec.FromString(spec), created, owner)
            for name, spec, created, owner in self._database.execute("SELECT * FROM applications")
        ]
        sessions = [_session(row) for row in self._database.execute("SELECT * FROM sessions")]
        known = {session.id for session in sessions}
        rows = self._database.execute(
            "SELECT session_id, number, state, created, started, ended, message, "
            "CASE WHEN state < 2 THEN input END FROM tasks ORDER BY session_id, number"
        )
        tasks = [_task(row) for row in rows if row[0] in known]
        return applications, sessions, tasks

    def payload(self, task: Task) -> tuple[bytes | None, bytes | None]:
        """Return input and output of a task that was committed."""
        row = self._database.execute(
            "SELECT input, output FROM tasks WHERE session_id = ? AND number = ?",
            (task.session_id, task.number),
        ).fetchone()
        return row or (None, None)

    # --- changing -----------------------------------------------------------------------

    def save_application(self, application: Application) -> None:
        """Queue an application as it is at the next commit."""
        self._applications[application.name] = application

    def forget_application(self, name: str) -> None:
        """Queue the removal of an application."""
        self._applications[name] = None

    def save_session(self, session: Session) -> None:
        """Queue a session as it is at the next commit, without its tasks."""
        self._sessions[session.id] = session

    def forget_session(self, session_id: str) -> None:
        """Queue the removal of a session and its tasks."""
        self._sessions.pop(session_id, None)
        self._gone_sessions.add(session_id)
        for key in [key for key in self._tasks if key[0] == session_id]:
            del self._tasks[key]

    def forget_task(self, session_id: str, number: int) -> None:
        """Queue the removal of a task."""
        self._gone_tasks.append((session_id, number))
        self._tasks.pop((session_id, number), None)

    def save_task(self, task: Task) -> None:
        """Queue a task as it is at the next commit."""
        self._tasks[task.session_id, task.number] = task

    @property
    def dirty(self) -> bool:
        """True while something is queued."""
        return bool(self._tasks or self._sessions or self._applications or self._gone_sessions)

    def commit(self) -> list[Task]:
        """Write what is queued, all of it or nothing; return the tasks. Raises StoreError."""
        tasks = list(self._tasks.values())
        try:
            self._database.execute("BEGIN")
            self._write_applications()
            self._write_sessions()
            self._write_tasks(tasks)
            self._database.execute("COMMIT")
        except sqlite3.Error as error:
            if self._database.in_transaction:
                self._database.execute("ROLLBACK")
            raise StoreError(f"{self._path}: {error}") from error
        for task in tasks:
            task.stored = True
        self._applications.clear()
        self._sessions.clear()
        self._gone_sessions.clear()
        self._tasks.clear()
        self._gone_tasks.clear()
        return tasks

    def _write_applications(self) -> None:
        for name, application in self._applications.items():
            if application is None:
                self._database.execute("DELETE FROM applications WHERE name = ?", (name,))
                continue
            self._database.execute(
                "INSERT OR REPLACE INTO applications VALUES (?, ?, ?, ?)",
                (
                    name,
                    application.spec.SerializeToString(),
                    application.created,
                    application.owner,
                ),
            )

    def _write_sessions(self) -> None:
        for session_id in self._gone_sessions:
            self._database.execute("DELETE FROM tasks WHERE session_id = ?", (session_id,))
            self._database.execute("DELETE FROM sessions WHERE id = ?", (session_id,))
        for session_id, session in self._sessions.items():
            events = json.dumps([[e.code, e.message, e.time] for e in session.events])
            self._database.execute(
                "INSERT OR REPLACE INTO sessions VALUES (?, ?, ?, ?, ?, ?)",
                (
                    session_id,
                    session.spec.SerializeToString(),
                    session.created,
                    int(session.state),
                    session.ended,
                    events,
                ),
            )

    def _write_tasks(self, tasks: Iterable[Task]) -> None:
        delete = "DELETE FROM tasks WHERE session_id = ? AND number = ?"
        self._database.executemany(delete, self._gone_tasks)
        new, changed = [], []
        for task in tasks:
            state = TaskState.PENDING if task.state is TaskState.RUNNING else task.state
            fate = (int(state), task.started, task.ended, task.message, task.output)
            key = (task.session_id, task.number)
            if task.stored:
                changed.append((*fate, *key))
            else:
                new.append((*fate, task.created, task.input, *key))
        if new:
            self._database.executemany(
                "INSERT INTO tasks (state, started, ended, message, output, created, input, "
                "session_id, number) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                new,
            )
        if changed:
            self._database.executemany(
                "UPDATE tasks SET state = ?, started = ?, ended = ?, message = ?, output = ? "
                "WHERE session_id = ? AND number = ?",
                changed,
            )

    def tidy(self) -> None:
        """Move what is in the log into the database; for a moment in which nobody waits."""
        with suppress(sqlite3.Error):  # nothing is lost; the next commit tells what is wrong
            self._database.execute("PRAGMA wal_checkpoint(PASSIVE)")

    def close(self) -> None:
        """Close the database; what is queued is lost. May be called twice."""
        self._database.close()


def _make_tables(database: sqlite3.Connection) -> None:
    for statement in _TABLES.split(";"):
        database.execute(statement)


def _columns(database: sqlite3.Connection) -> dict[str, list[str]]:
    """Return the names of the columns of each table."""
    tables = database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
    return {
        table: [name for _, name, *_ in database.execute(f"PRAGMA table_info({table!r})")]
        for (table,) in tables.fetchall()
    }


def _expected_columns() -> dict[str, list[str]]:
    with closing(sqlite3.connect(":memory:")) as database:
        _make_tables(database)
        return _columns(database)


def _session(row: tuple[str, bytes, float, int, float, str]) -> Session:
    session_id, spec, created, state, ended, events = row
    return Session(
        session_id,
        types_pb2.SessionSpec.FromString(spec),
        created,
        SessionState(state),
        ended,
        [SessionEvent(code, message, time) for code, message, time in json.loads(events)],
    )


def _task(row: tuple[str, int, int, float, float, float, str, bytes | None]) -> Task:
    session_id, number, state, created, started, ended, message, task_input = row
    task_state = TaskState(state)
    if not task_state.ended:
        started = 0.0
    return Task(
        *(session_id, number, task_input, created, task_state, started, ended, None, message),
        stored=True,
        archived=task_state.ended,
    )
