"""init and shutdown, and what there is on the machine."""

from __future__ import annotations

import json
import os
import platform
import socket
import tempfile
from collections.abc import Iterator, Mapping
from types import TracebackType
from typing import Any, Final

import flame_remote as flame

# What init() may be given beside what is in its signature, and does not need.
_HARMLESS: Final = frozenset(
    {
        "dashboard_host",
        "dashboard_port",
        "include_dashboard",
        "configure_logging",
        "logging_level",
        "logging_format",
        "logging_config",
        "log_to_driver",
        "enable_resource_isolation",
        "cgroup_path",
        "system_reserved_cpu",
        "system_reserved_memory",
        "proxy_server_url",
        "job_config",
        "_temp_dir",
        "_node_ip_address",
        "_system_config",
        "_metrics_export_port",
        "_enable_object_reconstruction",
        "_redis_max_memory",
        "_plasma_directory",
        "_object_spilling_directory",
        "_driver_object_store_memory",
        "_memory",
        "_tracing_startup_hook",
        "_node_name",
    }
)
# Clusters that are found by themselves are not there; Flame's address says which engine is meant.
_LOCAL: Final = (None, "local", "auto")


class RayContext(Mapping[str, Any]):
    """What `init` returns: a mapping, and a context manager that shuts down at its end."""

    dashboard_url = ""
    python_version = platform.python_version()
    ray_version = flame.__version__
    ray_commit = ""

    def __init__(self, session: flame.Session | None) -> None:
        self._session = session
        self.address_info: dict[str, Any] = {
            "node_ip_address": "127.0.0.1",
            "address": "local",
            "node_id": node_id(),
            "session_dir": "",
            "webui_url": "",
        }

    def __getitem__(self, key: str) -> Any:
        return self.address_info[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self.address_info)

    def __len__(self) -> int:
        return len(self.address_info)

    def disconnect(self) -> None:
        """Shut down. May be called twice."""
        shutdown()

    def __enter__(self) -> RayContext:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.disconnect()

    def __repr__(self) -> str:
        return f"RayContext(python_version={self.python_version!r}, {self._session!r})"


# The namespace of named actors that `init` was given; of the main program.
_namespace: str | None = None


def init(
    address: str | None = None,
    *,
    num_cpus: int | None = None,
    num_gpus: float | None = None,
    resources: Mapping[str, float] | None = None,
    labels: Mapping[str, str] | None = None,
    object_store_memory: int | None = None,
    local_mode: bool = False,
    ignore_reinit_error: bool = False,
    namespace: str | None = None,
    runtime_env: Mapping[str, Any] | None = None,
    **others: Any,
) -> RayContext:
    """Start with settings. Not needed with the defaults.

    Args:
        address: None, "local" or "auto" for this machine; "flame://host:port" for a Flame cluster.
        num_cpus: how many CPUs tasks may take in all.
        num_gpus: how many GPUs tasks may take in all.
        resources: amounts of resources of your own.
        labels: must be empty: there is one node.
        object_store_memory: how many bytes stored values may take.
        local_mode: run all calls in the calling thread, in flame's inline engine.
        ignore_reinit_error: return the running session instead of raising.
        namespace: of named actors that the main program makes and looks for.
        runtime_env: what workers get: environment variables, folders.
        others: Ray's other arguments, which have no effect.

    Raises:
        RuntimeError: an engine is running already, or an argument is unknown.
        ValueError: an argument cannot be had here.
    """
    global _namespace
    for name in others:
        if name not in _HARMLESS:
            raise RuntimeError(f"Unknown keyword argument(s): {name}")
    if labels:
        raise ValueError("init() cannot have labels: there is one machine; see docs/ray.md")
    engine = "inline" if local_mode else None
    if address not in _LOCAL:
        if str(address).partition("://")[0] not in ("flame", "flames"):
            raise ValueError(
                f"init() cannot connect to {address!r}: flame is no client of Ray clusters; "
                "possible: None, 'local', 'auto', 'flame://host:port'"
            )
        engine = address
    settings: dict[str, Any] = {}
    if runtime_env:
        settings["runtime_env"] = runtime_env
    was_running = flame.is_initialized()
    session = flame.init(
        engine,
        num_cpus=num_cpus,
        num_gpus=num_gpus,
        resources=resources,
        store_bytes=object_store_memory,
        ignore_reinit_error=ignore_reinit_error,
        **settings,
    )
    if not was_running:
        _namespace = namespace
    return RayContext(session)


def shutdown(_exiting_interpreter: bool = False, *, wait_for_processes: bool = False) -> None:
    """End all. May be called twice."""
    global _namespace
    _namespace = None
    flame.shutdown()


def current_namespace() -> str | None:
    """Return the namespace that `init` was given; None in tasks, which do not know it."""
    return _namespace


# --- what there is --------------------------------------------------------------------------------


def node_id() -> str:
    """Return the id of this machine: 56 hexadecimal digits."""
    import hashlib

    return hashlib.blake2b(socket.gethostname().encode(), digest_size=28).hexdigest()


def cluster_resources() -> dict[str, float]:
    """Return how much of each resource there is."""
    _require_started()
    return {name: float(amount) for name, amount in _all_resources().items() if amount}


def available_resources() -> dict[str, float]:
    """Return how much of each resource is free; what is used up is left out."""
    free = cluster_resources()
    running = flame.state.tasks(state="running", kind="function")
    held = [task.resources for task in running]
    for taken in [*held, *(actor.resources for actor in flame.state.actors())]:
        for name, amount in taken.items():
            free[name] = free.get(name, 0.0) - amount
    return {name: amount for name, amount in free.items() if amount > 0}


def nodes() -> list[dict[str, Any]]:
    """Return the nodes: this machine."""
    return [
        {
            "NodeID": node_id(),
            "Alive": True,
            "NodeManagerAddress": "127.0.0.1",
            "NodeManagerHostname": socket.gethostname(),
            "NodeName": socket.gethostname(),
            "Resources": cluster_resources(),
            "Labels": {},
            "alive": True,
        }
    ]


def _all_resources() -> Mapping[str, float]:
    here = flame.context()
    if here.task_id:
        raise RuntimeError(
            "what there is in all is known in the main program only: pass it to the task; "
            "get_runtime_context().get_assigned_resources() tells what the call has"
        )
    return here.resources


def _require_started() -> None:
    if not flame.is_initialized():
        raise RuntimeError("nothing is started yet: call ray.init() first")


def timeline(filename: str | os.PathLike[str] | None = None) -> list[dict[str, Any]] | None:
    """Write when calls ran, for chrome://tracing; without a file, return it.

    Raises:
        EngineError: nothing was noted: set FLAME_TIMELINE=1.
    """
    if filename is not None:
        flame.timeline(filename)
        return None
    with tempfile.NamedTemporaryFile("r", suffix=".json", encoding="utf-8") as file:
        flame.timeline(file.name)
        written = json.load(file)
    events: list[dict[str, Any]] = written["traceEvents"] if isinstance(written, dict) else written
    return events


def get_gpu_ids() -> list[int] | list[str]:
    """Return the ids of the GPUs that this call, or its actor, has."""
    ids: Any = flame.get_gpu_ids()
    return list(ids)
