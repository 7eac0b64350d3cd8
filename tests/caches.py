"""Object caches for tests: the real process, on a free port of the loopback."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest

from flame_remote.core.context import FlameContext

MODULE: Final = "flame_remote._server.object_cache"
ROOT: Final = Path(__file__).parent.parent
START_SECONDS: Final = 30.0


@dataclass
class Cache:
    """A cache that runs; `context` is for our client, `environment` for a process's."""

    process: subprocess.Popen[bytes]
    port: int
    scheme: str = "grpc"

    @property
    def endpoint(self) -> str:
        return f"{self.scheme}://127.0.0.1:{self.port}"

    @property
    def context(self) -> FlameContext:
        return FlameContext(cache_endpoint=self.endpoint)

    @property
    def environment(self) -> dict[str, str]:
        return {"FLAME_CACHE_ENDPOINT": self.endpoint}

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


@contextmanager
def running_cache(*options: str, port: int = 0, scheme: str = "grpc") -> Iterator[Cache]:
    """Run a cache with these options until the block ends."""
    ready, theirs = os.pipe()
    command = [sys.executable, "-m", MODULE, "--port", str(port), "--ready-fd", str(theirs)]
    process = subprocess.Popen([*command, *options], cwd=ROOT, pass_fds=[theirs])
    os.close(theirs)
    try:
        with open(ready) as told:
            line = told.readline()
        assert line.strip().isdigit(), f"the cache did not start: {process.wait()}"
        yield Cache(process, int(line), scheme)
    finally:
        process.terminate()
        process.wait(START_SECONDS)


@pytest.fixture(scope="session")
def arrow() -> None:
    """Have Arrow open what it keeps for the life of the process: a pipe for signals.

    For modules whose tests use Flight, so that the first of them is not told it left a pipe behind.
    """
    from pyarrow import csv

    csv.read_csv(io.BytesIO(b"a\n1\n"))


@pytest.fixture(scope="module")
def cache(arrow: None) -> Iterator[Cache]:
    """Return a cache in memory that the tests of a module share: use keys of your own."""
    with running_cache() as running:
        yield running


@pytest.fixture(autouse=True)
def flight_is_idle(nothing_is_left_behind: None) -> Iterator[None]:
    """Give the connections back that a test has opened, for the check that nothing is left."""
    yield
    flight = sys.modules.get("flame_remote.core.flight")
    if flight is not None:
        flight.close_connections()
