"""What all processes that work for one program know: the program itself, and its workers."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Final

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
