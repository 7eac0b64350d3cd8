"""For tests of programs that use a Flame cluster: a real one, on this machine, for a while."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from flame_remote._server.cluster import ClusterConfig, RunningCluster, start

__all__ = ["LocalCluster", "local_cluster"]


class LocalCluster:
    """A cluster that `local_cluster` has started.

    Args:
        config: how it was started.
        environment: what it inherits.
        temporary: whether its folder goes with it.
    """

    def __init__(
        self, config: ClusterConfig, environment: Mapping[str, str] | None, temporary: bool
    ) -> None:
        self._config = config
        self._inherited = environment
        self._temporary = temporary
        self._running: RunningCluster = self._start(config)

    def _start(self, config: ClusterConfig) -> RunningCluster:
        return start(config, environment=self._inherited, remove_data=self._temporary)

    @property
    def endpoint(self) -> str:
        """The URL of the session manager, "http://127.0.0.1:PORT"."""
        return self._running.info.endpoint

    @property
    def cache_endpoint(self) -> str:
        """The URL of the object cache, "grpc://127.0.0.1:PORT"."""
        return self._running.info.cache_endpoint

    @property
    def environment(self) -> dict[str, str]:
        """FLAME_ENDPOINT and FLAME_CACHE_ENDPOINT."""
        return self._running.info.environment

    @property
    def folder(self) -> Path:
        """Where its data and logs are."""
        return self._running.info.data

    @property
    def pid(self) -> int:
        """Of the session manager."""
        return self._running.info.pid

    def logs(self) -> str:
        """Return the text of all its log files, each under its name."""
        parts = [f"--- {path.name}\n{path.read_text('utf8', 'replace')}" for path in self.log_paths]
        return "\n".join(parts)

    @property
    def log_paths(self) -> list[Path]:
        """Its log files."""
        return self._running.info.logs

    def kill(self) -> None:
        """End the session manager by SIGKILL, as a crash would; nothing of it is left."""
        self._running.kill()

    def restart(self) -> None:
        """Start it again, on the same ports and data. Ends it first if it still runs.

        Raises:
            ClusterStartError: it could not be started.
        """
        info = self._running.info
        self._running.close()
        config = replace(
            self._config,
            port=int(info.endpoint.rpartition(":")[2]),
            cache_port=int(info.cache_endpoint.rpartition(":")[2]),
        )
        self._running = self._start(config)

    def close(self) -> None:
        """End it. May be called twice."""
        self._running.close()


@contextmanager
def local_cluster(
    *,
    python: str | None = None,
    instances: int | None = None,
    bind_attempts: int | None = None,
    warm: bool = True,
    environment: Mapping[str, str] | None = None,
    folder: Path | None = None,
) -> Iterator[LocalCluster]:
    """Run a cluster on free ports of this machine, in a temporary folder.

    It ends, with all processes that it has started, when the block does, and also when this
    process is killed.

    Args:
        python: the interpreter of instances; None for the one that runs this program.
        instances: how many processes sessions may grow to; None for twice the CPUs, at least 4.
        bind_attempts: failed starts in a row after which a session's tasks fail; None for 3.
        warm: whether a worker is prepared at once, in the background, which takes a second of CPU
            time; else when the first is needed.
        environment: what the cluster and its instances inherit; None for this process's own.
        folder: where its data is kept; None for a temporary folder that is removed at the end.

    Yields:
        The cluster.

    Raises:
        ClusterStartError: it could not be started.
    """
    data = folder or Path(tempfile.mkdtemp(prefix="flame-cluster-"))
    config = ClusterConfig(
        data=data,
        port=0,
        cache_port=0,
        python=python,
        instances=instances,
        bind_attempts=bind_attempts,
        warm=warm,
    )
    try:
        cluster = LocalCluster(config, environment, temporary=folder is None)
        try:
            yield cluster
        finally:
            cluster.close()
    finally:
        if folder is None:
            shutil.rmtree(data, ignore_errors=True)
