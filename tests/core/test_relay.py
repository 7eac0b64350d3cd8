"""A connection through a process of its own, as a forked child has it."""

from __future__ import annotations

from collections.abc import Iterator

import psutil
import pytest

from flame_remote._proto import types_pb2 as types
from flame_remote.core import processes
from flame_remote.core.connection import Connection
from flame_remote.core.context import FlameContext
from flame_remote.core.nodes import list_nodes
from flame_remote.core.sessions import create_session, get_session
from flame_remote.exceptions import ClusterError, ConnectError, FlameErrorCode, ForkedError
from tests.conftest import wait_until
from tests.core.conftest import to
from tests.core.fault_server import FaultServer


@pytest.fixture(autouse=True)
def as_in_a_forked_child(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "_connections", processes.Connections(grpc_is_usable=False))


@pytest.fixture
def relayed(server: FaultServer) -> Iterator[Connection]:
    connection = to(server)
    yield connection
    connection.close()


def test_errors_come_back_as_they_are(relayed: Connection) -> None:
    with pytest.raises(ClusterError, match="cannot get session 'no': Session no not") as caught:
        get_session("no", connection=relayed)
    assert caught.value.code is FlameErrorCode.NOT_FOUND


def test_a_server_that_is_not_there_is_told(server: FaultServer) -> None:
    server.stop()
    connection = to(server)
    with pytest.raises(ConnectError, match=r"\(from FLAME_ENDPOINT\): connection refused"):
        list_nodes(connection=connection)
    connection.close()
    server.start()


def test_a_watch_survives_a_restart_of_the_server(server: FaultServer, relayed: Connection) -> None:
    future = create_session("app", session_id="s1", connection=relayed).run(b"in")
    assert wait_until(lambda: server.do(lambda f: bool(f.watches["s1", "1"])))
    server.stop()
    server.start()
    server.do(lambda f: f.set_state(("s1", "1"), types.Succeed, b"out"))
    assert future.result(20) == b"out"


def test_what_is_not_waited_for_any_more_is_forgotten_there_too(
    server: FaultServer, relayed: Connection
) -> None:
    future = create_session("app", session_id="s1", connection=relayed).run(b"in")
    assert wait_until(lambda: server.do(lambda f: bool(f.watches["s1", "1"])))
    future.cancel()
    assert wait_until(lambda: server.do(lambda f: not f.watches["s1", "1"]))


def test_the_end_of_the_process_is_told_and_not_waited_for(
    server: FaultServer, relayed: Connection
) -> None:
    future = create_session("app", session_id="s1", connection=relayed).run(b"in")
    assert wait_until(lambda: server.do(lambda f: bool(f.watches["s1", "1"])))
    (process,) = psutil.Process().children()
    process.kill()
    said = "the process that calls http://.* for this forked one has ended"
    with pytest.raises(ClusterError, match=said):
        future.result(20)
    with pytest.raises(ClusterError, match=said):
        list_nodes(connection=relayed)


def test_a_wrong_context_is_told_before_a_process_is_started() -> None:
    context = FlameContext(endpoint="https://127.0.0.1:1", cluster_ca_file="/no/file")
    with pytest.raises(ClusterError, match="the CA file /no/file"):
        Connection(context)


def test_there_is_no_channel_to_use_directly(relayed: Connection) -> None:
    with pytest.raises(ForkedError):
        _ = relayed.stub
