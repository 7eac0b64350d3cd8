"""A local cluster for each file of tests, and a client of it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from flame_remote.testing import LocalCluster, local_cluster
from tests.server.client import Client


@pytest.fixture(scope="module")
def cluster() -> Iterator[LocalCluster]:
    with local_cluster(warm=False) as cluster:
        yield cluster


@pytest.fixture(scope="module")
def client(cluster: LocalCluster) -> Iterator[Client]:
    client = Client(cluster.endpoint)
    client.register("program")
    yield client
    client.close()


@pytest.fixture
def session(client: Client, request: pytest.FixtureRequest) -> Iterator[str]:
    """A session of program.py under the test's name; its instances are gone after the test."""
    session_id = request.node.name.replace("[", "-").rstrip("]")[:100]
    client.open(session_id, "program")
    yield session_id
    client.shut(session_id)
