"""`flame-remote up`, `down` and `status`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flame_remote._proto import frontend_pb2, types_pb2
from flame_remote._server import cluster
from flame_remote.exceptions import ClusterError

from .ending import NotRunning
from .settings import Settings
from .tables import card


def up(settings: Settings, config: Mapping[str, Any]) -> None:
    """Start the local cluster, and show where it is. Blocks until it serves.

    Args:
        settings: form of the output.
        config: fields of ClusterConfig.

    Raises:
        ClusterStartError: it cannot be started, or runs already.
    """
    info = cluster.up(cluster.ClusterConfig(**config))
    settings.show(
        _as_json(info),
        lambda: f"Flame cluster at {info.endpoint}, object cache at {info.cache_endpoint}\n",
    )


def down(settings: Settings) -> None:
    """End the local cluster, if it runs. Blocks until it has ended. Raises ClusterStopError."""
    info = cluster.down()
    settings.show({"ended": None if info is None else info.pid}, str)


def show_status(settings: Settings) -> None:
    """Show the local cluster and how much is on it. Raises NotRunning."""
    info = cluster.status()
    if info is None:
        settings.show({"running": False}, str)
        raise NotRunning("no cluster runs on this machine; `flame-remote up` starts one")
    settings.endpoint = info.endpoint
    try:
        load = _load(settings)
    except ClusterError as error:
        load = {"state": f"does not serve: {error}"}
    settings.show({**_as_json(info), **load}, lambda: _text(info, load))


def _load(settings: Settings) -> dict[str, Any]:
    """Ask the cluster how much is on it."""
    asked = settings.cluster()
    sessions = asked.call("ListSession", frontend_pb2.ListSessionRequest()).sessions
    executors = asked.call("ListExecutor", frontend_pb2.ListExecutorRequest()).executors
    return {
        "state": "serving",
        "open_sessions": sum(one.status.state == types_pb2.Open for one in sessions),
        "pending_tasks": sum(one.status.pending for one in sessions),
        "running_tasks": sum(one.status.running for one in sessions),
        "instances": len(executors),
    }


def _text(info: cluster.ClusterInfo, load: Mapping[str, Any]) -> str:
    rows = [
        ("Endpoint", info.endpoint),
        ("Object cache", info.cache_endpoint),
        ("Process", str(info.pid)),
        ("Data", str(info.data)),
        ("State", load["state"]),
    ]
    if "instances" in load:
        rows += [
            ("Sessions", f"{load['open_sessions']} open"),
            ("Tasks", f"{load['pending_tasks']} pending, {load['running_tasks']} running"),
            ("Instances", str(load["instances"])),
        ]
    return card(rows)


def _as_json(info: cluster.ClusterInfo) -> dict[str, Any]:
    return {
        "running": True,
        "endpoint": info.endpoint,
        "cache_endpoint": info.cache_endpoint,
        "pid": info.pid,
        "data": str(info.data),
    }
