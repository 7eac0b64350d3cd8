"""The one place that names the engines; imports one when it is asked for."""

from __future__ import annotations

from flame_remote._config import Config
from flame_remote.engine import Engine


def create_engine(config: Config) -> Engine:
    """Start the engine that `config` names. Blocks until calls can be made.

    Raises:
        WorkerStartError: worker processes cannot be started.
        ConnectError: there is no cluster at the address.
        ClusterError: the cluster cannot be used.
    """
    if config.engine == "inline":
        from flame_remote._inline.engine import InlineEngine

        return InlineEngine(config)
    if config.engine == "flame":
        from flame_remote._flame.start import start_engine

        return start_engine(config.endpoint)
    # The spawner takes longest to get ready: the rest happens meanwhile.
    from flame_remote._local.spawning import SpawnerHandle

    spawner = SpawnerHandle()
    from flame_remote._local.engine import LocalEngine

    return LocalEngine(config, spawner)
