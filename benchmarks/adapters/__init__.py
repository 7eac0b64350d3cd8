"""Which systems there are. An adapter is imported only in the process that runs it."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Final

from benchmarks.adapter import Adapter

# name -> (module in this package, class)
SYSTEMS: Final[Mapping[str, tuple[str, str]]] = {
    "flame_remote": ("flame", "FlameRemote"),
    "ray": ("ray", "Ray"),
    "process_pool": ("process_pool", "ProcessPool"),
    "multiprocessing": ("multiprocessing_pool", "MultiprocessingPool"),
    "joblib": ("joblib_loky", "JoblibLoky"),
    "flame_cluster": ("cluster", "FlameCluster"),
    "flamepy": ("cluster", "Flamepy"),
    "prototype": ("prototype", "CallerPrototype"),
    "prototype_spin": ("prototype", "SpinningPrototype"),
    "prototype_thread": ("prototype", "ThreadPrototype"),
}
# Clients of a Flame cluster: compared with each other, when asked for.
ON_CLUSTER: Final = frozenset({"flame_cluster", "flamepy"})


def load(name: str) -> Adapter:
    """Import the system and return its adapter, not started; ImportError if it is not here."""
    module, class_name = SYSTEMS[name]
    adapter: Adapter = getattr(import_module(f"{__name__}.{module}"), class_name)()
    return adapter
