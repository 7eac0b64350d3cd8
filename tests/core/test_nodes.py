"""Nodes and executors are listed."""

from __future__ import annotations

import pytest

from flame_remote.core.connection import Connection
from flame_remote.core.nodes import (
    ExecutorState,
    NodeState,
    get_node,
    list_executors,
    list_nodes,
)
from flame_remote.core.resources import ResourceRequirement
from flame_remote.exceptions import ClusterError, FlameErrorCode


def test_executors_are_listed(connection: Connection) -> None:
    (executor,) = list_executors(connection=connection)
    assert (executor.id, executor.node, executor.session_id) == ("e1", "n1", "s1")
    assert executor.state is ExecutorState.BOUND
    assert executor.resreq == ResourceRequirement(cpu=1)


def test_nodes_are_listed_and_found_by_name(connection: Connection) -> None:
    (node,) = list_nodes(connection=connection)
    assert node == get_node("n1", connection=connection)
    assert (node.name, node.hostname, node.arch, node.os) == ("n1", "host-1", "x86_64", "linux")
    assert node.state is NodeState.READY
    assert node.capacity == node.allocatable == ResourceRequirement(8, 2**34, 1)
    assert node.addresses == (("InternalIP", "10.0.0.1"),)
    assert node.last_heartbeat_time.year == 2023


def test_a_node_that_is_missing_is_an_error(connection: Connection) -> None:
    with pytest.raises(ClusterError, match="cannot get node 'no': node no not found") as caught:
        get_node("no", connection=connection)
    assert caught.value.code is FlameErrorCode.NOT_FOUND
