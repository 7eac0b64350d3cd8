"""Nodes and the executors on them, shown as rows, cards and JSON."""

from __future__ import annotations

from typing import Any, Final

from flame_remote._proto import types_pb2

from . import words
from .tables import card
from .values import name_of, optional, resources_json

HEADS: Final = ("NAME", "HOSTNAME", "STATUS", "CPU", "MEMORY", "ARCH", "OS")
EXECUTOR_HEADS: Final = ("ID", "State", "Session", "Node")


def row(node: types_pb2.Node) -> tuple[str, ...]:
    """Return the cells of a line in a list."""
    status = node.status
    return (
        node.metadata.name,
        node.spec.hostname,
        name_of(types_pb2.NodeState, status.state),
        str(status.capacity.cpu),
        words.memory(status.capacity.memory),
        status.info.arch,
        status.info.os,
    )


def view(node: types_pb2.Node) -> str:
    """Return what matters about a node, for people."""
    status = node.status
    capacity = [
        ("CPU", str(status.capacity.cpu)),
        ("Memory", words.memory(status.capacity.memory)),
    ]
    info = [("Arch", status.info.arch), ("OS", status.info.os)]
    return (
        card(
            [
                ("Name", node.metadata.name),
                ("Hostname", node.spec.hostname),
                ("Status", name_of(types_pb2.NodeState, status.state)),
                ("Capacity", ""),
            ]
        )
        + card(capacity, indent=2)
        + card([("Info", "")])
        + card(info, indent=2)
    )


def as_json(node: types_pb2.Node) -> dict[str, Any]:
    """Return everything about a node, for programs."""
    status = node.status
    beat = status.last_heartbeat_time
    return {
        "name": node.metadata.name,
        "hostname": node.spec.hostname,
        "state": name_of(types_pb2.NodeState, status.state),
        "capacity": resources_json(status.capacity),
        "allocatable": resources_json(status.allocatable),
        "arch": status.info.arch,
        "os": status.info.os,
        "addresses": [{"type": a.type, "address": a.address} for a in status.addresses],
        "last_heartbeat": words.timestamp(beat) if beat else None,
    }


def executor_row(executor: types_pb2.Executor) -> tuple[str, ...]:
    """Return the cells of a line in a list."""
    return (
        executor.metadata.id,
        name_of(types_pb2.ExecutorState, executor.status.state),
        executor.status.session_id or words.NOTHING,
        executor.spec.node,
    )


def executor_as_json(executor: types_pb2.Executor) -> dict[str, Any]:
    """Return everything about an executor, for programs."""
    return {
        "id": executor.metadata.id,
        "state": name_of(types_pb2.ExecutorState, executor.status.state),
        "session": optional(executor.status, "session_id"),
        "node": executor.spec.node,
        "resources": resources_json(executor.spec.resreq),
        "shim": name_of(types_pb2.Shim, executor.spec.shim),
    }
