"""One connection, many threads; servers that are not there, go away, come back, or say no."""

from __future__ import annotations

import asyncio
import inspect
import os
import socket
import subprocess
import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import pytest

from flame_remote._proto import frontend_pb2
from flame_remote.core.applications import get_application, list_applications, register_application
from flame_remote.core.connection import Connection, get_connection
from flame_remote.core.context import FlameContext
from flame_remote.core.nodes import list_nodes
from flame_remote.exceptions import (
    ClusterError,
    ClusterTimeoutError,
    ConnectError,
    FlameErrorCode,
)
from tests.core.conftest import to
from tests.core.fault_server import FaultServer

LIST_NODES = frontend_pb2.ListNodesRequest()


@pytest.fixture
def closed_port() -> Iterator[int]:
    """Yield a port on which nobody listens, and nobody else can."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield taken.getsockname()[1]


@pytest.fixture
def silent_port() -> Iterator[int]:
    """Yield a port that takes connections, and says nothing on them."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield listening.getsockname()[1]


def error_at(port: int, scheme: str = "http", **options: float) -> ConnectError:
    """Return what a first call to a port raises."""
    context = FlameContext.load(endpoint=f"{scheme}://127.0.0.1:{port}")
    connection = Connection(context, **options)
    try:
        with pytest.raises(ConnectError) as caught:
            list_nodes(connection=connection)
        return caught.value
    finally:
        connection.close()


def test_a_server_that_is_not_there_is_told_with_the_origin_of_its_address(
    closed_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FLAME_ENDPOINT", f"http://127.0.0.1:{closed_port}")
    connection = get_connection()
    with pytest.raises(ConnectError) as caught:
        list_applications()
    connection.close()
    assert str(caught.value) == (
        f"no Flame cluster answers at http://127.0.0.1:{closed_port} (from FLAME_ENDPOINT): "
        "connection refused; start one with `flame-remote up`, or give the address of one that runs"
    )
    assert caught.value.code is FlameErrorCode.INVALID_CONFIG


def test_a_server_that_says_nothing_is_given_two_seconds(silent_port: int) -> None:
    assert inspect.signature(Connection).parameters["connect_timeout"].default == 2
    error = error_at(silent_port, connect_timeout=0.2)
    assert error.reason == "no answer within 0.2 s"
    assert error.origin == "the argument endpoint"


def test_a_host_that_does_not_exist_is_told(connection: Connection) -> None:
    nowhere = Connection(FlameContext.load(endpoint="http://host.invalid:1"))
    with pytest.raises(ConnectError, match=r"host\.invalid"):
        list_nodes(connection=nowhere)
    nowhere.close()


def test_a_server_that_does_not_speak_tls_is_told(server: FaultServer) -> None:
    error = error_at(server.port, "https", connect_timeout=1)
    assert "TLS" in error.reason


def test_a_call_has_a_time_limit(server: FaultServer, connection: Connection) -> None:
    server.do(lambda f: f.silent.add("ListNodes"))
    with pytest.raises(ClusterTimeoutError) as caught:
        list_nodes(timeout=0.05, connection=connection)
    assert isinstance(caught.value, TimeoutError)
    assert str(caught.value) == (
        f"cannot list nodes: {server.endpoint} did not answer within 0.05 s"
    )


def test_a_server_that_starts_again_is_found_again(
    server: FaultServer, connection: Connection
) -> None:
    list_nodes(connection=connection)
    server.stop()
    server.start()
    assert list_nodes(connection=connection)[0].name == "n1"


def test_a_server_that_comes_late_is_waited_for(server: FaultServer) -> None:
    connection = to(server, connect_timeout=20)
    server.stop()
    with pytest.raises(ConnectError):
        list_nodes(connection=connection)
    calling = connection.spawn(connection.acall("ListNodes", LIST_NODES))
    server.start()
    assert calling.result(20).nodes
    connection.close()


@pytest.mark.parametrize("times", [1, 2])
def test_a_call_that_may_be_repeated_is_sent_again_if_its_connection_is_lost(
    server: FaultServer, connection: Connection, times: int
) -> None:
    refused = 0

    async def lose_connection(request: Any, context: Any) -> Any:
        nonlocal refused
        refused += 1
        if refused <= times:
            await context.abort(grpc.StatusCode.UNAVAILABLE, "Socket closed")
        return await type(server.frontend).ListNodes(server.frontend, request, context)

    server.frontend.ListNodes = lose_connection  # type: ignore[method-assign]
    server.stop()
    server.start()
    assert list_nodes(connection=connection)


def test_a_call_that_may_have_been_done_is_not_sent_again(
    server: FaultServer, connection: Connection
) -> None:
    lost = (grpc.StatusCode.UNAVAILABLE, "Socket closed")
    server.do(lambda f: f.refusals.update(RegisterApplication=lost))
    with pytest.raises(ClusterError) as caught:
        register_application("app", {}, connection=connection)
    assert str(caught.value) == (
        f"cannot register application 'app': the connection to {server.endpoint} was lost "
        "(socket closed) before the answer came; it may have been done or not"
    )
    assert server.do(lambda f: f.calls["RegisterApplication"]) == 1


def test_many_threads_share_a_connection(server: FaultServer, connection: Connection) -> None:
    def call(number: int) -> str | None:
        name = f"app-{number}"
        register_application(name, {"description": name}, connection=connection)
        application = get_application(name, connection=connection)
        return application.description if application else None

    with ThreadPoolExecutor(16) as pool:
        assert list(pool.map(call, range(100))) == [f"app-{number}" for number in range(100)]


def test_threads_that_ask_at_once_get_the_same_connection(
    server: FaultServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FLAME_ENDPOINT", server.endpoint)
    with ThreadPoolExecutor(8) as pool:
        found = set(pool.map(lambda _: get_connection(), range(8)))
    assert len(found) == 1
    (connection,) = found
    connection.close()
    again = get_connection()
    assert again is not connection
    again.close()


def test_a_change_of_the_environment_is_seen(
    server: FaultServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FLAME_ENDPOINT", server.endpoint)
    first = get_connection()
    other = FaultServer()
    monkeypatch.setenv("FLAME_ENDPOINT", other.endpoint)
    second = get_connection()
    assert (first.context.endpoint, second.context.endpoint) == (server.endpoint, other.endpoint)
    first.close()
    second.close()
    other.close()


def test_calls_can_be_awaited_in_a_loop_of_the_users(connection: Connection) -> None:
    answer = asyncio.run(connection.acall("ListNodes", LIST_NODES))
    assert answer.nodes[0].metadata.name == "n1"


def test_a_blocking_call_in_a_callback_is_refused_instead_of_standing_still(
    connection: Connection,
) -> None:
    outcome: Future[object] = Future()

    def call(_: object) -> None:
        try:
            outcome.set_result(list_nodes(connection=connection))
        except ClusterError as error:
            outcome.set_exception(error)

    connection.spawn(connection.acall("ListNodes", LIST_NODES)).add_done_callback(call)
    with pytest.raises(ClusterError, match="it would wait for itself") as caught:
        outcome.result(10)
    assert caught.value.code is FlameErrorCode.INVALID_STATE


def test_a_connection_that_was_closed_says_so(server: FaultServer) -> None:
    connection = to(server)
    connection.close()
    connection.close()
    assert connection.is_closed
    with pytest.raises(ClusterError, match=f"the connection to {server.endpoint} was closed"):
        list_nodes(connection=connection)


def test_closing_ends_calls_that_are_under_way(server: FaultServer) -> None:
    connection = to(server)
    server.do(lambda f: f.silent.add("ListNodes"))
    calling = connection.spawn(connection.acall("ListNodes", LIST_NODES))
    while not server.do(lambda f: f.calls["ListNodes"]):
        threading.Event().wait(0.001)
    connection.close()
    with pytest.raises(ClusterError, match="was closed"):
        calling.result(10)


def test_the_token_goes_with_every_call(
    server: FaultServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FLAME_ENDPOINT", server.endpoint)
    monkeypatch.setenv("FLAME_TOKEN", "secret")
    connection = get_connection()
    list_nodes()
    connection.close()
    assert server.do(lambda f: f.metadata[-1]["authorization"]) == "Bearer secret"
    assert "secret" not in repr(connection.context)


def test_a_token_is_not_sent_in_the_clear_to_another_machine() -> None:
    context = FlameContext(
        endpoint="http://flame.example:8080", token="secret", origins={"token": "FLAME_TOKEN"}
    )
    with pytest.raises(ClusterError, match=r"the token \(from FLAME_TOKEN\) would travel in the"):
        Connection(context)


@pytest.mark.parametrize(
    ("token", "said"),
    [(None, "the cluster wants a token: set FLAME_TOKEN"), ("old", "the token came from the file")],
)
def test_a_refused_token_says_where_it_came_from(
    server: FaultServer, token: str | None, said: str
) -> None:
    refusal = (grpc.StatusCode.UNAUTHENTICATED, "bad token")
    server.do(lambda f: f.refusals.update(ListNodes=refusal))
    context = FlameContext(endpoint=server.endpoint, token=token, origins={"token": "the file"})
    connection = Connection(context)
    with pytest.raises(ClusterError, match=f"cannot list nodes: bad token; {said}") as caught:
        list_nodes(connection=connection)
    assert caught.value.code is FlameErrorCode.INVALID_CONFIG
    connection.close()


# --- TLS ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Return files of a certificate for 127.0.0.1, which is its own root, and of its key."""
    folder = tmp_path_factory.mktemp("tls")
    command = (
        "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 "
        "-subj /CN=localhost -addext subjectAltName=IP:127.0.0.1 -keyout key.pem -out cert.pem"
    )
    try:
        subprocess.run(command.split(), cwd=folder, check=True, capture_output=True)
    except FileNotFoundError:
        pytest.skip("certificates are made with the openssl command")
    return folder / "cert.pem", folder / "key.pem"


@pytest.fixture
def tls_server(certificate: tuple[Path, Path]) -> Iterator[FaultServer]:
    file, key = certificate
    pair = (key.read_bytes(), file.read_bytes())
    server = FaultServer(grpc.ssl_server_credentials([pair]))
    yield server
    server.close()


def test_a_server_is_verified_against_the_ca_file(
    tls_server: FaultServer, certificate: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FLAME_ENDPOINT", tls_server.endpoint)
    monkeypatch.setenv("FLAME_CA_FILE", os.fspath(certificate[0]))
    connection = get_connection()
    assert list_nodes()
    connection.close()


def test_a_server_that_is_not_trusted_is_told(tls_server: FaultServer) -> None:
    error = error_at(tls_server.port, "https")
    assert error.reason == "its certificate is not signed by a root that is trusted here"


def test_a_server_that_wants_tls_is_told(tls_server: FaultServer) -> None:
    error = error_at(tls_server.port, "http", connect_timeout=0.5)
    assert "https" in error.reason


def test_a_ca_file_that_is_not_there_is_told_with_its_origin(tmp_path: Path) -> None:
    context = FlameContext(
        endpoint="https://127.0.0.1:1",
        cluster_ca_file=os.fspath(tmp_path / "no.pem"),
        origins={"cluster_ca_file": "FLAME_CA_FILE"},
    )
    with pytest.raises(ClusterError, match=r"no\.pem \(from FLAME_CA_FILE\) cannot be read"):
        Connection(context)
