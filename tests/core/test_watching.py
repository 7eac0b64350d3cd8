"""Tasks are waited for: whatever the server does, the wait ends with the truth."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Future

import grpc
import pytest

from flame_remote._proto import types_pb2 as types
from flame_remote.core.connection import Connection
from flame_remote.core.session import Session
from flame_remote.core.tasks import Task, TaskState
from flame_remote.exceptions import (
    ClusterError,
    ClusterTimeoutError,
    ConnectError,
    FlameErrorCode,
    WorkerStartError,
)
from tests.conftest import wait_until
from tests.core.conftest import to
from tests.core.fault_server import FaultServer, Frontend

KEY = ("s1", "1")
PATIENCE_SECONDS = 30


def watched(server: FaultServer, count: int = 1) -> None:
    """Return when the server has as many open watches."""
    assert wait_until(lambda: server.do(lambda f: sum(map(len, f.watches.values()))) == count)


@pytest.fixture
def watch(server: FaultServer, connection: Connection, session: Session) -> Future[Task]:
    """Return the future of a task that is being watched."""
    session.create_task(b"in")
    future = connection.watch(*KEY)
    watched(server)
    return future


def test_a_watch_ends_with_the_task_as_it_succeeded(
    server: FaultServer, watch: Future[Task]
) -> None:
    server.do(lambda f: f.set_state(KEY, types.Running))
    server.do(lambda f: f.set_state(KEY, types.Succeed, b"out"))
    task = watch.result(PATIENCE_SECONDS)
    assert (task.id, task.session_id, task.state) == ("1", "s1", TaskState.SUCCEED)
    assert (task.input, task.output) == (b"in", b"out")
    assert task.result() == b"out"


def test_a_task_that_has_ended_already_is_told_at_once(
    server: FaultServer, connection: Connection, session: Session
) -> None:
    session.create_task(b"")
    server.do(lambda f: f.set_state(KEY, types.Succeed))
    assert connection.watch(*KEY).result(PATIENCE_SECONDS).result() is None


def test_why_a_task_failed_is_asked_for_because_streams_do_not_say(
    server: FaultServer, watch: Future[Task]
) -> None:
    server.do(lambda f: f.set_state(KEY, types.Failed, event="ValueError: no"))
    task = watch.result(PATIENCE_SECONDS)
    assert task.is_failed()
    assert task.failure() == "ValueError: no"
    with pytest.raises(ClusterError, match="task 1 of session 's1' failed: ValueError: no"):
        task.result()


def test_a_stream_that_says_why_is_believed(server: FaultServer, watch: Future[Task]) -> None:
    server.do(lambda f: setattr(f, "events_in_streams", True))
    server.do(lambda f: f.set_state(KEY, types.Failed, event="no"))
    assert watch.result(PATIENCE_SECONDS).failure() == "no"
    assert server.do(lambda f: f.calls["GetTask"]) == 0


def test_a_failed_task_without_any_events_says_that_nothing_is_known(
    server: FaultServer, watch: Future[Task]
) -> None:
    server.do(lambda f: f.set_state(KEY, types.Failed))
    with pytest.raises(ClusterError, match="the cluster does not say why"):
        watch.result(PATIENCE_SECONDS).result()


def test_a_cancelled_task_is_told_as_such(server: FaultServer, watch: Future[Task]) -> None:
    server.do(lambda f: f.set_state(KEY, types.Cancelled))
    task = watch.result(PATIENCE_SECONDS)
    assert task.is_cancelled()
    with pytest.raises(ClusterError, match="was cancelled: the session was closed") as caught:
        task.result()
    assert caught.value.code is FlameErrorCode.INVALID_STATE


@pytest.mark.parametrize(
    "disturb",
    [
        pytest.param(lambda f: f.tell(KEY, None), id="ends early"),
        pytest.param(lambda f: f.tell(KEY, grpc.StatusCode.INTERNAL), id="breaks"),
        pytest.param(lambda f: f.tell(KEY, grpc.StatusCode.UNAVAILABLE), id="loses connection"),
    ],
)
def test_a_stream_that_ends_too_early_is_opened_again(
    server: FaultServer, watch: Future[Task], disturb: Callable[[Frontend], None]
) -> None:
    server.do(disturb)
    assert wait_until(lambda: server.do(lambda f: f.calls["WatchTask"]) == 2)
    watched(server)
    server.do(lambda f: f.set_state(KEY, types.Succeed, b"out"))
    assert watch.result(PATIENCE_SECONDS).output == b"out"


def test_an_end_that_no_stream_tells_is_found_by_asking(
    server: FaultServer, connection: Connection, session: Session
) -> None:
    session.create_task(b"")
    server.do(lambda f: setattr(f, "watched_in_vain", True))
    future = connection.watch(*KEY)
    assert wait_until(lambda: server.do(lambda f: f.calls["GetTask"]) >= 2)
    server.do(lambda f: f.set_state(KEY, types.Succeed, b"out"))
    assert future.result(PATIENCE_SECONDS).output == b"out"


def test_a_task_that_vanishes_is_an_error_and_no_wait_for_ever(
    server: FaultServer, watch: Future[Task]
) -> None:
    def vanish(frontend: Frontend) -> None:
        del frontend.tasks[KEY]
        frontend.tell(KEY, None)

    server.do(vanish)
    with pytest.raises(
        ClusterError, match="task 1 of session 's1' is not in the cluster"
    ) as caught:
        watch.result(PATIENCE_SECONDS)
    assert caught.value.code is FlameErrorCode.NOT_FOUND


def test_a_task_that_was_never_there_is_an_error(connection: Connection) -> None:
    with pytest.raises(ClusterError) as caught:
        connection.watch("no", "7").result(PATIENCE_SECONDS)
    assert caught.value.code is FlameErrorCode.NOT_FOUND


def test_streams_that_are_refused_again_and_again_are_an_error(
    server: FaultServer, connection: Connection, session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("flame_remote.core.watching._MOST_BROKEN_STREAMS", 2)
    session.create_task(b"")
    server.do(lambda f: f.refusals.update(WatchTask=(grpc.StatusCode.INTERNAL, "no streams")))
    with pytest.raises(ClusterError, match="cannot watch task 1 of session 's1': no streams"):
        connection.watch(*KEY).result(PATIENCE_SECONDS)


def test_a_restart_of_the_server_is_survived(server: FaultServer, watch: Future[Task]) -> None:
    server.stop()
    server.do(lambda f: f.set_state(KEY, types.Running))
    server.start()
    watched(server)
    server.do(lambda f: f.set_state(KEY, types.Succeed, b"out"))
    assert watch.result(PATIENCE_SECONDS).output == b"out"


def test_an_end_while_the_server_was_away_is_told_when_it_is_back(
    server: FaultServer, watch: Future[Task]
) -> None:
    server.stop()
    server.do(lambda f: f.set_state(KEY, types.Failed, event="lost"))
    server.start()
    assert watch.result(PATIENCE_SECONDS).failure() == "lost"


def test_a_server_that_stays_away_is_told_at_last(server: FaultServer) -> None:
    connection = to(server, connect_timeout=0.1, reconnect_timeout=0.3)
    server.do(lambda f: f.tasks.update({KEY: types.Task()}))
    future = connection.watch(*KEY)
    watched(server)
    server.stop()
    with pytest.raises(ConnectError, match=r"has not come back within 0\.3 s: connection refused"):
        future.result(PATIENCE_SECONDS)
    connection.close()
    server.start()


@pytest.fixture
def early_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have sessions looked at soon, so that tests are short."""
    monkeypatch.setattr("flame_remote.core.session_waits.FIRST_LOOK_SECONDS", 0.1)
    monkeypatch.setattr("flame_remote.core.session_waits.SECOND_LOOK_SECONDS", 0.05)


@pytest.mark.usefixtures("early_looks")
def test_a_session_that_can_start_no_instance_fails_the_wait_with_the_reason(
    server: FaultServer, session: Session
) -> None:
    future = session.run(b"")
    watched(server)

    def give_up(frontend: Frontend) -> None:
        frontend.count("s1", pending=1)
        frontend.add_event("s1", 1001, "on_session_enter failed: no module named 'torch'")
        frontend.add_event("s1", 1002, "Session retry limit reached after 5/5 failed attempts")

    server.do(give_up)
    with pytest.raises(WorkerStartError) as caught:
        future.result(PATIENCE_SECONDS)
    assert "session 's1' of application 'app'" in str(caught.value)
    assert "on_session_enter failed: no module named 'torch'" in str(caught.value)
    assert "retry limit reached after 5/5" in str(caught.value)
    watched(server, 0)


@pytest.mark.usefixtures("early_looks")
def test_a_session_is_looked_at_once_for_all_of_its_tasks_and_waited_for_while_it_may_go_on(
    server: FaultServer, session: Session
) -> None:
    def troubled_but_running(frontend: Frontend) -> None:
        frontend.count("s1", pending=19, running=1)
        frontend.add_event("s1", 1002, "Session retry limit reached")

    server.do(troubled_but_running)
    futures = [session.run(b"") for _ in range(20)]
    watched(server, 20)
    assert wait_until(lambda: server.do(lambda f: f.calls["GetSession"]) >= 1)
    assert not any(future.done() for future in futures)
    for number in range(1, 21):
        server.do(lambda f, n=number: f.set_state(("s1", str(n)), types.Succeed, b"%d" % n))
    assert {future.result(PATIENCE_SECONDS) for future in futures} == {
        b"%d" % n for n in range(1, 21)
    }
    assert server.do(lambda f: f.calls["GetSession"]) < 10


@pytest.mark.usefixtures("early_looks")
def test_a_session_that_was_deleted_is_noticed_though_the_streams_stay_silent(
    server: FaultServer, session: Session
) -> None:
    future = session.run(b"")
    watched(server)
    server.do(lambda f: (f.sessions.clear(), f.tasks.clear()))
    with pytest.raises(ClusterError) as caught:
        future.result(PATIENCE_SECONDS)
    assert caught.value.code is FlameErrorCode.NOT_FOUND


def test_a_thousand_tasks_are_watched_at_once_without_a_thread_each(
    server: FaultServer, connection: Connection, session: Session
) -> None:
    session.run(b"")
    watched(server)
    threads = threading.active_count()
    futures = [session.run(b"%d" % number) for number in range(1000)]
    watched(server, 1001)
    assert threading.active_count() == threads

    def succeed(frontend: Frontend) -> None:
        for key, task in frontend.tasks.items():
            frontend.set_state(key, types.Succeed, b"<" + task.spec.input + b">")

    server.do(succeed)
    results = [future.result(PATIENCE_SECONDS) for future in futures]
    assert results == [b"<%d>" % number for number in range(1000)]


def test_many_watches_survive_a_restart(
    server: FaultServer, connection: Connection, session: Session
) -> None:
    futures = [session.run(b"") for _ in range(200)]
    watched(server, 200)
    server.stop()
    server.start()
    watched(server, 200)

    def succeed(frontend: Frontend) -> None:
        for key in frontend.tasks:
            frontend.set_state(key, types.Succeed, b"out")

    server.do(succeed)
    assert {future.result(PATIENCE_SECONDS) for future in futures} == {b"out"}


def test_cancelling_the_future_ends_the_watch_and_not_the_task(
    server: FaultServer, watch: Future[Task]
) -> None:
    assert watch.cancel()
    watched(server, 0)
    assert server.do(lambda f: f.tasks[KEY].status.state) == types.Pending


def test_watches_end_with_the_connection(connection: Connection, watch: Future[Task]) -> None:
    connection.close()
    with pytest.raises(ClusterError, match="was closed"):
        watch.result(PATIENCE_SECONDS)


def test_watching_works_from_an_asyncio_loop_of_the_users(
    server: FaultServer, connection: Connection, session: Session
) -> None:
    async def main() -> bytes | None:
        task = await session.acreate_task(b"in")
        ending = asyncio.ensure_future(connection.awatch("s1", task.id))
        while not server.do(lambda f: f.watches[KEY]):
            await asyncio.sleep(0)
        server.do(lambda f: f.set_state(KEY, types.Succeed, b"out"))
        return (await ending).result()

    assert asyncio.run(main()) == b"out"


def test_a_user_sees_every_change_of_a_task(server: FaultServer, session: Session) -> None:
    session.create_task(b"")
    updates = session.watch_task("1")
    seen: list[Task] = []
    reader = threading.Thread(target=lambda: seen.extend(updates))
    reader.start()
    watched(server)
    server.do(lambda f: f.set_state(KEY, types.Running))
    server.do(lambda f: f.set_state(KEY, types.Failed, event="no"))
    reader.join()
    assert [task.state for task in seen] == [TaskState.RUNNING, TaskState.FAILED]
    assert seen[-1].failure() == "no"


def test_a_user_who_watches_has_a_time_limit(server: FaultServer, session: Session) -> None:
    session.create_task(b"")
    with pytest.raises(ClusterTimeoutError, match="the end of task 1 of session 's1' did not come"):
        next(session.watch_task("1", timeout=0.05))
    watched(server, 0)


def test_an_iterator_that_is_dropped_closes_its_stream(
    server: FaultServer, session: Session
) -> None:
    session.create_task(b"")

    def see_one() -> None:
        next(session.watch_task("1"))

    reader = threading.Thread(target=see_one)
    reader.start()
    watched(server)
    server.do(lambda f: f.set_state(KEY, types.Running))
    reader.join()
    watched(server, 0)
