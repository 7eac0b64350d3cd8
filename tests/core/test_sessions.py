"""Sessions are created, opened, listed, closed and deleted; tasks are put into them."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from typing import Any

import grpc
import pytest

from flame_remote._proto import types_pb2 as types
from flame_remote.core.connection import Connection
from flame_remote.core.resources import ResourceRequirement
from flame_remote.core.session import Session, SessionAttributes, SessionState
from flame_remote.core.sessions import (
    close_session,
    create_session,
    delete_session,
    get_session,
    list_sessions,
    open_session,
)
from flame_remote.core.statuses import MESSAGE_LIMIT_BYTES
from flame_remote.core.tasks import TaskState
from flame_remote.exceptions import ClusterError, ClusterTimeoutError, FlameErrorCode
from tests.conftest import wait_until
from tests.core.fault_server import FaultServer

ATTRIBUTES = SessionAttributes(
    application="app",
    common_data=b"common",
    min_instances=1,
    max_instances=4,
    resreq=ResourceRequirement(2, 3, 1),
    priority=5,
)


def test_a_session_comes_back_as_it_was_created(connection: Connection) -> None:
    session = create_session(
        "app", b"common", "s1", 1, 4, 1, ResourceRequirement(2, 3, 1), 5, connection=connection
    )
    assert session == get_session("s1", connection=connection)
    assert (session.id, session.application, session.state) == ("s1", "app", SessionState.OPEN)
    assert (session.min_instances, session.max_instances, session.priority) == (1, 4, 5)
    assert session.resreq == ResourceRequirement(2, 3, 1)
    assert session.common_data() == b"common"
    assert (session.pending, session.running, session.succeed) == (0, 0, 0)
    assert (session.failed, session.cancelled) == (0, 0)
    assert (session.completion_time, session.events) == (None, ())


def test_a_session_without_limits_has_none(server: FaultServer, session: Session) -> None:
    assert (session.max_instances, session.resreq, session.common_data()) == (None, None, None)
    spec = server.do(lambda f: f.requests[-1].session)
    assert spec == types.SessionSpec(application="app", batch_size=1)


def test_a_session_is_given_an_id_that_is_new(connection: Connection) -> None:
    ids = {create_session("app", connection=connection).id for _ in range(20)}
    assert len(ids) == 20
    assert all(re.fullmatch(r"app-[A-Za-z0-9]{6}", session_id) for session_id in ids)


def test_opening_creates_a_session_that_is_not_there_and_finds_one_that_is(
    server: FaultServer, connection: Connection
) -> None:
    created = open_session("s1", ATTRIBUTES, connection=connection)
    assert created.priority == 5
    assert open_session("s1", connection=connection) == created
    assert server.do(lambda f: f.calls["CreateSession"]) == 1


def test_sessions_are_listed_with_their_events(
    server: FaultServer, connection: Connection, session: Session
) -> None:
    server.do(lambda f: f.add_event("s1", 1001, "failed to bind session"))
    (listed,) = list_sessions(connection=connection)
    assert [(event.code, event.message) for event in listed.events] == [
        (1001, "failed to bind session")
    ]


def test_a_session_is_closed_and_deleted(connection: Connection, session: Session) -> None:
    closed = close_session("s1", connection=connection)
    assert closed.state is SessionState.CLOSED
    assert closed.completion_time is not None
    session.close()  # again
    assert delete_session("s1", connection=connection).id == "s1"
    assert list_sessions(connection=connection) == []


@pytest.mark.parametrize(
    ("status", "details", "code"),
    [
        ("NOT_FOUND", "Session s1 not found", FlameErrorCode.NOT_FOUND),
        ("ALREADY_EXISTS", "Session 's1' already exists", FlameErrorCode.ALREADY_EXISTS),
        ("INTERNAL", "UNIQUE constraint failed: sessions.id", FlameErrorCode.ALREADY_EXISTS),
        ("INTERNAL", "FOREIGN KEY constraint failed", FlameErrorCode.NOT_FOUND),
        ("INVALID_ARGUMENT", "Session s1 is not open", FlameErrorCode.INVALID_STATE),
        ("INVALID_ARGUMENT", "session <s1> is not open", FlameErrorCode.INVALID_STATE),
        ("INVALID_ARGUMENT", "Application 'app' is disabled", FlameErrorCode.INVALID_STATE),
        ("FAILED_PRECONDITION", "session is closed", FlameErrorCode.INVALID_STATE),
        ("INTERNAL", "Cannot close session with running tasks", FlameErrorCode.INVALID_STATE),
        ("INTERNAL", "Cannot delete open session", FlameErrorCode.INVALID_STATE),
        (
            "INVALID_ARGUMENT",
            "session s1 spec mismatch: priority differs (expected 0, got 1)",
            FlameErrorCode.INVALID_ARGUMENT,
        ),
        ("INTERNAL", "disk full", FlameErrorCode.INTERNAL),
        ("UNIMPLEMENTED", "Method not found!", FlameErrorCode.INTERNAL),
    ],
)
def test_every_refusal_has_its_code(
    server: FaultServer,
    connection: Connection,
    status: str,
    details: str,
    code: FlameErrorCode,
) -> None:
    calls: dict[str, Callable[[], Any]] = {
        "Create": lambda: create_session("app", session_id="s1", connection=connection),
        "Open": lambda: open_session("s1", connection=connection),
        "Close": lambda: close_session("s1", connection=connection),
        "Delete": lambda: delete_session("s1", connection=connection),
    }
    for verb, call in calls.items():
        refusal = {f"{verb}Session": (getattr(grpc.StatusCode, status), details)}
        server.do(lambda f, refusal=refusal: f.refusals.update(refusal))
        with pytest.raises(ClusterError) as caught:
            call()
        assert str(caught.value) == f"cannot {verb.lower()} session 's1': {details}"
        assert caught.value.code is code


def test_an_error_that_only_repeats_the_id_says_what_is_wrong(
    server: FaultServer, connection: Connection
) -> None:
    refusal = (grpc.StatusCode.NOT_FOUND, "s1")
    server.do(lambda f: f.refusals.update(GetSession=refusal))
    with pytest.raises(ClusterError, match="cannot get session 's1': not found"):
        get_session("s1", connection=connection)


# --- tasks ----------------------------------------------------------------------------------------


def test_a_task_is_created_found_and_listed(server: FaultServer, session: Session) -> None:
    created = session.create_task(b"in")
    assert (created.id, created.session_id, created.state) == ("1", "s1", TaskState.PENDING)
    server.do(lambda f: f.set_state(("s1", "1"), types.Failed, event="no"))
    found = session.get_task("1")
    assert (found.input, found.output, found.failure()) == (b"in", None, "no")
    for number in range(2, 251):
        session.create_task(b"%d" % number)
    assert {task.id for task in session.list_tasks()} == {str(n) for n in range(1, 251)}


def test_tasks_of_a_session_that_is_not_there_cannot_be_listed(
    connection: Connection, session: Session
) -> None:
    delete_session("s1", connection=connection)
    with pytest.raises(ClusterError, match="cannot list the tasks of session 's1'") as caught:
        list(session.list_tasks())
    assert caught.value.code is FlameErrorCode.NOT_FOUND


def test_a_list_that_stops_coming_has_a_time_limit(server: FaultServer, session: Session) -> None:
    server.do(lambda f: f.silent.add("ListTask"))
    with pytest.raises(ClusterTimeoutError, match="the tasks of session 's1' did not come within"):
        list(session.list_tasks(timeout=0.05))


def test_a_closed_session_takes_no_task(server: FaultServer, session: Session) -> None:
    refusal = (grpc.StatusCode.INVALID_ARGUMENT, "Cannot create task in closed session")
    server.do(lambda f: f.refusals.update(CreateTask=refusal))
    with pytest.raises(ClusterError, match="cannot create a task in session 's1': Cann") as caught:
        session.create_task(b"")
    assert caught.value.code is FlameErrorCode.INVALID_STATE
    with pytest.raises(ClusterError, match="closed session"):
        session.run(b"").result(10)


def test_a_task_without_input_is_possible(session: Session) -> None:
    assert session.create_task(None).input is None


@pytest.mark.parametrize("input", ["text", 1, ["x"]])
def test_input_that_is_no_bytes_is_refused(session: Session, input: Any) -> None:
    for put in (session.create_task, session.run, session.invoke):
        with pytest.raises(ClusterError, match="the input of a task must be bytes, not") as caught:
            put(input)
        assert caught.value.code is FlameErrorCode.INVALID_ARGUMENT


def test_common_data_that_is_no_bytes_is_refused(connection: Connection) -> None:
    with pytest.raises(ClusterError, match="common_data must be bytes, not dict"):
        create_session("app", {}, connection=connection)  # type: ignore[arg-type]


def test_what_is_over_the_message_limit_is_refused_with_the_way_out(
    server: FaultServer, connection: Connection, session: Session
) -> None:
    data = bytes(MESSAGE_LIMIT_BYTES)
    with pytest.raises(ClusterError, match="put large data into the object cache") as caught:
        session.run(data)
    assert caught.value.code is FlameErrorCode.INVALID_ARGUMENT
    with pytest.raises(
        ClusterError, match="cannot create session 's2': with its common_data it is"
    ):
        create_session("app", data, "s2", connection=connection)
    assert server.do(lambda f: f.calls["CreateTask"]) == 0


def test_a_server_with_a_smaller_limit_is_understood(server: FaultServer, session: Session) -> None:
    refusal = (
        grpc.StatusCode.OUT_OF_RANGE,
        "Error, decoded message length too large: found 9 bytes, the limit is: 4 bytes",
    )
    server.do(lambda f: f.refusals.update(CreateTask=refusal))
    with pytest.raises(ClusterError, match="the limit is: 4 bytes; put large data into the object"):
        session.create_task(b"123456789")


def test_messages_may_come_back_larger_than_they_may_be_sent(
    server: FaultServer, session: Session
) -> None:
    data = bytes(MESSAGE_LIMIT_BYTES - 1000)
    future = session.run(data)
    assert wait_until(lambda: server.do(lambda f: len(f.watches)) == 1)
    server.do(lambda f: f.set_state(("s1", "1"), types.Succeed, data))
    assert future.result(10) == data


def test_invoke_returns_the_output(server: FaultServer, session: Session) -> None:
    server.do(lambda f: f.refusals.clear())

    async def answer_at_once(request: Any, context: Any) -> Any:
        task = await type(server.frontend).CreateTask(server.frontend, request, context)
        server.frontend.set_state(("s1", task.metadata.id), types.Succeed, b"out")
        return task

    server.frontend.CreateTask = answer_at_once  # type: ignore[method-assign]
    server.stop()
    server.start()
    assert session.invoke(b"in", timeout=10) == b"out"


def test_invoke_has_a_time_limit(session: Session) -> None:
    with pytest.raises(ClusterTimeoutError) as caught:
        session.invoke(b"", timeout=0.05)
    assert str(caught.value) == "the output of a task of session 's1' did not come within 0.05 s"


def test_tasks_of_a_session_with_one_instance_are_created_in_order(
    server: FaultServer, connection: Connection
) -> None:
    session = create_session("app", session_id="s1", max_instances=1, connection=connection)
    futures = [session.run(b"%d" % number) for number in range(50)]
    assert wait_until(lambda: server.do(lambda f: len(f.tasks)) == 50)
    inputs = server.do(lambda f: [task.spec.input for task in f.tasks.values()])
    assert inputs == [b"%d" % number for number in range(50)]
    assert not any(future.done() for future in futures)


def test_many_tasks_can_be_created_at_once_from_a_loop_of_the_users(session: Session) -> None:
    async def main() -> set[str]:
        tasks = await asyncio.gather(*[session.acreate_task(b"") for _ in range(100)])
        return {task.id for task in tasks}

    assert asyncio.run(main()) == {str(number) for number in range(1, 101)}
