"""This machine, as the one node of the cluster."""

from __future__ import annotations

import os
import platform
import socket
from collections.abc import Iterable
from dataclasses import dataclass, field

from flame_remote._proto import types_pb2

from .limits import usable_cpus
from .messages import milliseconds


@dataclass(frozen=True)
class Node:
    """What is told about this machine."""

    name: str = field(default_factory=socket.gethostname)
    address: str = "127.0.0.1"
    cpus: int = field(default_factory=usable_cpus)
    memory_bytes: int = field(
        default_factory=lambda: os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    )

    def message(self, used: Iterable[types_pb2.ResourceRequirement], now: float) -> types_pb2.Node:
        """Return it as Flame lists nodes; `used` is what the instances take by their sessions."""
        cpu = memory = 0
        for resources in used:
            cpu += resources.cpu
            memory += resources.memory
        capacity = types_pb2.ResourceRequirement(cpu=self.cpus, memory=self.memory_bytes)
        free = types_pb2.ResourceRequirement(
            # Resources are counted only, never enforced: there may be more used than there are.
            cpu=max(0, self.cpus - cpu),
            memory=max(0, self.memory_bytes - memory),
        )
        return types_pb2.Node(
            metadata=types_pb2.Metadata(id=self.name, name=self.name),
            spec=types_pb2.NodeSpec(hostname=self.name),
            status=types_pb2.NodeStatus(
                state=types_pb2.Ready,
                capacity=capacity,
                allocatable=free,
                info=types_pb2.NodeInfo(arch=platform.machine(), os=platform.system().lower()),
                addresses=[types_pb2.NodeAddress(type="InternalIP", address=self.address)],
                last_heartbeat_time=milliseconds(now),
            ),
        )
