"""The machines of a cluster, and the executors on them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import IntEnum
from typing import TYPE_CHECKING

from .application import Shim
from .connection import Connection, get_connection
from .resources import ResourceRequirement
from .times import from_milliseconds

if TYPE_CHECKING:
    from flame_remote._proto import types_pb2


class ExecutorState(IntEnum):
    """What an executor does."""

    UNKNOWN = 0
    VOID = 1
    IDLE = 2
    BINDING = 3
    BOUND = 4
    UNBINDING = 5
    RELEASING = 6
    RELEASED = 7


class NodeState(IntEnum):
    """Whether a node takes part."""

    UNKNOWN = 0
    READY = 1
    NOT_READY = 2


@dataclass(frozen=True, slots=True)
class Executor:
    """A place for one instance, on one node; `session_id` is whom it serves, if anybody."""

    id: str
    state: ExecutorState
    node: str
    resreq: ResourceRequirement
    shim: Shim
    session_id: str | None = None

    @classmethod
    def from_proto(cls, message: types_pb2.Executor) -> Executor:
        """Take an executor from Flame's message."""
        status = message.status
        return cls(
            id=message.metadata.id,
            state=ExecutorState(status.state),
            node=message.spec.node,
            resreq=ResourceRequirement.from_proto(message.spec.resreq),
            shim=Shim(message.spec.shim),
            session_id=status.session_id if status.HasField("session_id") else None,
        )


@dataclass(frozen=True, slots=True)
class Node:
    """A machine. `capacity` is what it has, `allocatable` what of it instances may take.

    `addresses` are pairs of kind and address.
    """

    name: str
    state: NodeState
    hostname: str
    capacity: ResourceRequirement
    allocatable: ResourceRequirement
    arch: str
    os: str
    addresses: tuple[tuple[str, str], ...]
    last_heartbeat_time: datetime

    @classmethod
    def from_proto(cls, message: types_pb2.Node) -> Node:
        """Take a node from Flame's message."""
        status = message.status
        return cls(
            name=message.metadata.name,
            state=NodeState(status.state),
            hostname=message.spec.hostname,
            capacity=ResourceRequirement.from_proto(status.capacity),
            allocatable=ResourceRequirement.from_proto(status.allocatable),
            arch=status.info.arch,
            os=status.info.os,
            addresses=tuple((address.type, address.address) for address in status.addresses),
            last_heartbeat_time=from_milliseconds(status.last_heartbeat_time),
        )


def list_executors(
    *, timeout: float | None = None, connection: Connection | None = None
) -> list[Executor]:
    """Return all executors of the cluster.

    Args:
        timeout: seconds for the call; None for 60.
        connection: to the cluster; None for the one that environment and file say.

    Raises:
        ClusterError: the cluster failed; ConnectError if there is none.
    """
    from flame_remote._proto import frontend_pb2

    request = frontend_pb2.ListExecutorRequest()
    answer = (connection or get_connection()).call("ListExecutor", request, timeout=timeout)
    return [Executor.from_proto(executor) for executor in answer.executors]


def list_nodes(*, timeout: float | None = None, connection: Connection | None = None) -> list[Node]:
    """Return all nodes of the cluster.

    Args:
        timeout: seconds for the call; None for 60.
        connection: to the cluster; None for the one that environment and file say.

    Raises:
        ClusterError: the cluster failed; ConnectError if there is none.
    """
    from flame_remote._proto import frontend_pb2

    request = frontend_pb2.ListNodesRequest()
    answer = (connection or get_connection()).call("ListNodes", request, timeout=timeout)
    return [Node.from_proto(node) for node in answer.nodes]


def get_node(
    name: str, *, timeout: float | None = None, connection: Connection | None = None
) -> Node:
    """Return a node.

    Args:
        name: of the node.
        timeout: seconds for the call; None for 60.
        connection: to the cluster; None for the one that environment and file say.

    Raises:
        ClusterError: NOT_FOUND; ConnectError if there is no cluster.
    """
    from flame_remote._proto import frontend_pb2

    request = frontend_pb2.GetNodeRequest(name=name)
    answer = (connection or get_connection()).call("GetNode", request, timeout=timeout)
    return Node.from_proto(answer.node)
