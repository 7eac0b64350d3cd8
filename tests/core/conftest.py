"""Servers and connections for the tests of the client."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from flame_remote.core.connection import Connection
from flame_remote.core.context import FlameContext
from flame_remote.core.nodes import list_nodes
from flame_remote.core.session import Session
from flame_remote.core.sessions import create_session
from tests.core.fault_server import FaultServer


def to(server: FaultServer, **options: float) -> Connection:
    """Return a connection to a server."""
    context = FlameContext(endpoint=server.endpoint, origins={"endpoint": "FLAME_ENDPOINT"})
    return Connection(context, **options)


@pytest.fixture(scope="session", autouse=True)
def grpc_is_running() -> Iterator[None]:
    """Start what gRPC keeps for the whole process, so that no test seems to leave it behind."""
    server = FaultServer()
    connection = to(server)
    list_nodes(connection=connection)
    yield
    connection.close()
    server.close()


@pytest.fixture(autouse=True)
def no_settings_of_the_user(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Look for files of settings in an empty home; take nothing from the environment."""
    for name in ("ENDPOINT", "CACHE_ENDPOINT", "CACHE_STORAGE", "CA_FILE", "TOKEN", "CONFIG"):
        monkeypatch.delenv(f"FLAME_{name}", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))


@pytest.fixture
def server() -> Iterator[FaultServer]:
    server = FaultServer()
    yield server
    server.close()


@pytest.fixture
def connection(server: FaultServer) -> Iterator[Connection]:
    connection = to(server)
    yield connection
    connection.close()


@pytest.fixture
def session(connection: Connection) -> Session:
    return create_session("app", session_id="s1", connection=connection)
