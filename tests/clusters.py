"""A local Flame cluster for many tests, in processes that are no children of the test's process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Final

import pytest

from flame_remote.core.connection import Connection
from flame_remote.core.context import FlameContext
from flame_remote.core.nodes import list_nodes
from flame_remote.core.objects import delete_object, get_bytes, put_bytes

# Both set: the conformance suite and the Runner guide's examples run on the cluster there.
ENDPOINT: Final = "FLAME_TEST_ENDPOINT"
CACHE_ENDPOINT: Final = "FLAME_TEST_CACHE_ENDPOINT"

# Ends when its standard input does. It forks and leaves its parent, so that what is started on
# behalf of a test that goes on (the instances of a session) is not taken for something left behind.
_PROGRAM: Final = """
import json, os, sys
sys.path.insert(0, sys.argv[2])
if os.fork():
    os._exit(0)
os.setsid()
from flame_remote.testing import local_cluster
with local_cluster(**json.loads(sys.argv[1])) as cluster:
    told = [cluster.endpoint, cluster.cache_endpoint, str(cluster.folder), cluster.pid]
    print(json.dumps(told), flush=True)
    sys.stdin.read()
"""


class Cluster:
    """Where a cluster listens."""

    def __init__(self, endpoint: str, cache_endpoint: str, folder: str, pid: int = 0) -> None:
        """`pid` is that of the session manager, 0 where it is not known."""
        self.endpoint = endpoint
        self.cache_endpoint = cache_endpoint
        self.folder = Path(folder)
        self.pid = pid

    @property
    def engine(self) -> str:
        """What `flame.init` is given."""
        return self.endpoint.replace("http://", "flame://")

    @property
    def environment(self) -> dict[str, str]:
        """What tells programs where it is."""
        return {"FLAME_ENDPOINT": self.endpoint, "FLAME_CACHE_ENDPOINT": self.cache_endpoint}


@contextmanager
def detached_cluster(**options: str | int | None) -> Iterator[Cluster]:
    """Run a cluster with the options of `local_cluster`."""
    environment = {
        name: text
        for name, text in os.environ.items()
        if not name.startswith(("FLAME_", "PYTHONPATH"))
    }
    # Not by PYTHONPATH, which instances would inherit: they are forked ready if nothing is there.
    root = str(Path(__file__).parent.parent)
    process = subprocess.Popen(
        [sys.executable, "-c", _PROGRAM, json.dumps(options), root],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=environment,
        text=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    with process.stdin, process.stdout:
        process.wait(60)
        yield Cluster(*json.loads(process.stdout.readline()))
        process.stdin.close()
        process.stdout.read()  # until the last of them has ended


def some_cluster() -> AbstractContextManager[Cluster]:
    """Return the cluster that the environment names for tests, such as a real Flame, or run one."""
    endpoint, cache_endpoint = (os.environ.get(name) for name in (ENDPOINT, CACHE_ENDPOINT))
    if endpoint is None or cache_endpoint is None:
        return detached_cluster()
    return nullcontext(Cluster(endpoint, cache_endpoint, folder=""))


@contextmanager
def grpc_running(cluster: Cluster) -> Iterator[None]:
    """Start what gRPC keeps for the whole process, so that no test seems to leave it behind."""
    context = FlameContext.load(cluster.endpoint, cluster.cache_endpoint)
    connection = Connection(context)
    list_nodes(connection=connection)
    large = put_bytes("tests/grpc", bytes(1_000_000), context=context)
    get_bytes(large, context=context)
    small = put_bytes("tests/grpc", b"", context=context)
    with ThreadPoolExecutor(8) as pool:  # as many pollers as there will ever be calls at a time
        list(pool.map(lambda _: get_bytes(small, context=context), range(64)))
    for ref in (large, small):
        delete_object(ref, context=context)
    yield
    connection.close()


@pytest.fixture(scope="session")
def flame_cluster() -> Iterator[Cluster]:
    """Run a cluster with our own workers until the last test, unless one is given."""
    with some_cluster() as cluster, grpc_running(cluster):
        yield cluster


@pytest.fixture(scope="session")
def stock_cluster(flamepy_python: Path) -> Iterator[Cluster]:
    """Run a cluster with stock flamepy's workers, where nothing of ours is installed."""
    with detached_cluster(python=str(flamepy_python)) as cluster, grpc_running(cluster):
        yield cluster
