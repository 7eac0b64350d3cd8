"""What all processes that work for one program know: the program itself, and its workers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final

from flame_remote.exceptions import UnschedulableError

# Parts of keys in the cache, behind the application: which kind of object it is.
OBJECTS: Final = "objects"  # values of users
MAIL: Final = "mail"  # outcomes that somebody was promised
SHARED: Final = "shared"  # values that were given an address for use outside the engine
CLAIMS: Final = "claims"  # who may run a batch
CODE: Final = "code"  # large functions, and what workers execute
BATCHES: Final = "batches"  # batches and replies that are too large for a message
CLOSED: Final = "closed"  # there is one when the program has ended


@dataclass(frozen=True, slots=True)
class Program:
    """One program on a cluster.

    `session` names it in pickled refs. Functions run in sessions of `application`; actors in
    sessions of `actors`, which the cluster leaves alone while they are idle. `nodes` are the CPUs
    and GPUs of each node. `owner` is the engine of the program itself.
    """

    session: str
    application: str
    actors: str
    owner: str
    nodes: tuple[tuple[float, float], ...]

    @property
    def instances(self) -> int:
        """How many instances of one CPU the cluster has room for."""
        return max(1, int(sum(cpus for cpus, _ in self.nodes))) if self.nodes else 4

    def resources(self) -> dict[str, float]:
        """Return how much of each resource the cluster has in all."""
        amounts = {
            "CPU": sum(cpus for cpus, _ in self.nodes),
            "GPU": sum(gpus for _, gpus in self.nodes),
        }
        return {name: amount for name, amount in amounts.items() if amount}

    def check_demand(self, name: str, amounts: Mapping[str, float]) -> None:
        """Raise UnschedulableError if no node has as much as a target called `name` takes."""
        most = {
            "CPU": max((cpus for cpus, _ in self.nodes), default=None),
            "GPU": max((gpus for _, gpus in self.nodes), default=None),
        }
        for resource, needed in amounts.items():
            if resource == "memory":
                continue  # of which the cluster says too little
            available = most.get(resource, 0.0)
            if available is not None and needed > available:
                raise UnschedulableError(name, resource, needed, available)

    def prefix(self, kind: str) -> str:
        """Return where objects of a kind are put."""
        return f"{self.application}/{kind}"

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain data."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Program:
        """Read what to_dict returned."""
        return cls(**{**data, "nodes": tuple(tuple(node) for node in data["nodes"])})
