"""The client against a cluster of our own, in processes of its own."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from flame_remote.core.applications import (
    get_application,
    list_applications,
    register_application,
)
from flame_remote.core.connection import Connection
from flame_remote.core.context import FlameContext
from flame_remote.core.nodes import list_executors, list_nodes
from flame_remote.core.session import SessionState
from flame_remote.core.sessions import (
    close_session,
    create_session,
    delete_session,
    get_session,
    list_sessions,
    open_session,
)
from flame_remote.core.tasks import TaskState
from flame_remote.exceptions import ClusterError, FlameErrorCode, WorkerStartError
from tests.clusters import Cluster, detached_cluster

PING = json.dumps({"duration": 0}).encode()


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with detached_cluster() as cluster:
        yield cluster


@pytest.fixture
def connection(cluster: Cluster) -> Iterator[Connection]:
    connection = Connection(FlameContext(endpoint=cluster.endpoint))
    yield connection
    connection.close()


def test_a_session_lives_from_its_creation_to_its_end(connection: Connection) -> None:
    session = create_session("flmping", session_id="life", connection=connection)
    assert open_session("life", connection=connection).state is SessionState.OPEN
    outputs = [future.result(30) for future in [session.run(PING) for _ in range(100)]]
    assert all(output and b"Completed on" in output for output in outputs)
    states = [task.state for task in session.watch_task(session.create_task(PING).id, timeout=30)]
    assert states[-1] is TaskState.SUCCEED
    assert any(e.session_id == "life" for e in list_executors(connection=connection))
    assert len(list(session.list_tasks())) == 101
    assert get_session("life", connection=connection).succeed == 101
    session.close()
    with pytest.raises(ClusterError) as caught:
        session.invoke(PING, timeout=30)
    assert caught.value.code is FlameErrorCode.INVALID_STATE
    delete_session("life", connection=connection)
    assert "life" not in [s.id for s in list_sessions(connection=connection)]


def test_the_cluster_shows_its_applications_and_nodes(connection: Connection) -> None:
    names = {application.name for application in list_applications(connection=connection)}
    assert names >= {"flmrun", "flmexec", "flmping"}
    assert list_nodes(connection=connection)[0].allocatable.cpu >= 1
    assert get_application("no", connection=connection) is None


def test_what_is_not_there_has_its_code(connection: Connection) -> None:
    for call in (get_session, open_session, close_session, delete_session):
        with pytest.raises(ClusterError) as caught:
            call("no", connection=connection)
        assert caught.value.code is FlameErrorCode.NOT_FOUND
    with pytest.raises(ClusterError) as caught:
        create_session("no", connection=connection)
    assert caught.value.code is FlameErrorCode.NOT_FOUND


def test_a_session_id_is_taken_once(connection: Connection) -> None:
    create_session("flmping", session_id="once", connection=connection)
    with pytest.raises(ClusterError) as caught:
        create_session("flmping", session_id="once", connection=connection)
    assert caught.value.code is FlameErrorCode.ALREADY_EXISTS


def test_an_instance_that_cannot_start_is_told_to_who_waits(connection: Connection) -> None:
    register_application("broken", {"command": "/no/such/program"}, connection=connection)
    session = create_session("broken", connection=connection)
    with pytest.raises((WorkerStartError, ClusterError), match="/no/such/program"):
        session.invoke(b"", timeout=30)
