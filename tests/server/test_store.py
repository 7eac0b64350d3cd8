"""What was committed is there again, and nothing else is."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from flame_remote._proto import types_pb2
from flame_remote._server.records import Application, Session, SessionEvent, Task
from flame_remote._server.states import SessionState, TaskState, TaskStep
from flame_remote._server.store import Store, StoreError


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "sessions.sqlite"


@pytest.fixture
def store(path: Path) -> Iterator[Store]:
    store = Store(path)
    yield store
    store.close()


def session(session_id: str = "s") -> Session:
    return Session(session_id, types_pb2.SessionSpec(application="app", common_data=b"c"), 1.5)


def reopened(store: Store, path: Path) -> Store:
    store.close()
    return Store(path)


def test_applications_and_sessions_come_back_as_they_were(store: Store, path: Path) -> None:
    spec = types_pb2.ApplicationSpec(command="x", labels=["l"])
    store.save_application(Application("app", spec, 1.0, "1:2"))
    kept = session()
    kept.events.append(SessionEvent(1001, "no", 2.0))
    store.save_session(kept)
    store.commit()
    again = reopened(store, path)
    applications, sessions, _ = again.load()
    again.close()
    assert applications == [Application("app", spec, 1.0, "1:2")]
    assert sessions == [kept]


def test_a_running_task_comes_back_as_a_pending_one_with_its_input(
    store: Store, path: Path
) -> None:
    task = Task("s", 1, b"in", 1.0)
    store.save_session(session())
    store.save_task(task)
    task.advance(TaskStep.SENT)
    task.started = 2.0
    store.commit()
    again = reopened(store, path)
    (loaded,) = again.load()[2]
    again.close()
    assert (loaded.state, loaded.input, loaded.started) == (TaskState.PENDING, b"in", 0.0)


def test_an_ended_task_comes_back_without_its_bytes_which_are_read_when_asked_for(
    store: Store, path: Path
) -> None:
    task = Task("s", 1, b"in", 1.0)
    store.save_session(session())
    store.save_task(task)
    store.commit()
    task.advance(TaskStep.SENT)
    task.advance(TaskStep.RETURNED)
    task.output = b"out"
    task.ended = 3.0
    store.save_task(task)
    store.commit()
    again = reopened(store, path)
    (loaded,) = again.load()[2]
    assert (loaded.state, loaded.input, loaded.output) == (TaskState.SUCCEEDED, None, None)
    assert again.payload(loaded) == (b"in", b"out")
    again.close()


def test_what_was_not_committed_is_not_there(store: Store, path: Path) -> None:
    store.save_session(session())
    again = reopened(store, path)
    assert again.load() == ([], [], [])
    again.close()


def test_a_forgotten_session_takes_its_tasks_with_it_even_if_its_id_is_used_again(
    store: Store, path: Path
) -> None:
    store.save_session(session())
    store.save_task(Task("s", 1, b"old", 1.0))
    store.commit()
    store.forget_session("s")
    store.save_session(session())
    store.save_task(Task("s", 1, b"new", 2.0))
    store.commit()
    again = reopened(store, path)
    (task,) = again.load()[2]
    again.close()
    assert task.input == b"new"


def test_a_closed_session_stays_closed(store: Store, path: Path) -> None:
    closed = session()
    closed.state, closed.ended = SessionState.CLOSED, 9.0
    store.save_session(closed)
    store.commit()
    again = reopened(store, path)
    assert again.load()[1] == [closed]
    again.close()


def test_a_second_manager_on_the_same_data_is_refused_with_the_path(
    store: Store, path: Path
) -> None:
    with pytest.raises(StoreError, match=r"sessions\.sqlite: .*locked"):
        Store(path)


def test_a_file_that_is_no_database_is_refused_with_the_path(path: Path) -> None:
    path.write_bytes(b"not a database" * 100)
    with pytest.raises(StoreError, match=r"sessions\.sqlite: .*not a database"):
        Store(path)


@pytest.mark.parametrize(
    ("change", "kept"),
    [
        ("PRAGMA user_version = 7", "it has format 7"),
        ("ALTER TABLE applications DROP COLUMN owner", "it has other tables"),
        ("PRAGMA user_version = 0", "it has format 0"),
    ],
)
def test_a_file_of_another_version_is_refused_before_anything_is_written(
    store: Store, path: Path, change: str, kept: str
) -> None:
    store.close()
    with closing(sqlite3.connect(path)) as database:
        database.execute(change)
    with pytest.raises(StoreError, match=kept) as raised:
        Store(path)
    assert str(path) in str(raised.value)
    assert "use another data folder" in str(raised.value)


def test_the_log_is_moved_into_the_database_by_tidying_and_not_by_commits(
    store: Store, path: Path
) -> None:
    before = path.stat().st_size
    store.save_session(session())
    for number in range(1, 201):
        store.save_task(Task("s", number, bytes(50_000), 1.0))
        store.commit()
    assert path.stat().st_size == before
    store.tidy()
    assert path.stat().st_size > 200 * 50_000
