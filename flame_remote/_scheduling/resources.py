"""How much of each resource is there, and how much of it is taken."""

from __future__ import annotations

from collections.abc import Mapping

from flame_remote._spec import Demand


class ResourcePool:
    """Counts resources in whole ten-thousandths, so that nothing is lost to rounding."""

    def __init__(self, amounts: Mapping[str, float]) -> None:
        self.total: dict[str, int] = dict(Demand.of(amounts))
        self.available: dict[str, int] = dict(self.total)

    def fits(self, demand: Demand) -> bool:
        """Say whether `demand` could be taken now."""
        available = self.available
        return all(available.get(name, 0) >= units for name, units in demand)

    def take(self, demand: Demand) -> None:
        """Take `demand`, even if less is there: a task whose `get` returns must go on."""
        for name, units in demand:
            self.available[name] = self.available.get(name, 0) - units

    def give_back(self, demand: Demand) -> None:
        """Undo one `take` of the same demand."""
        for name, units in demand:
            self.available[name] += units


def cpus_of(demand: Demand) -> Demand:
    """Return the part of a demand that a blocked task lends to others: its CPUs only."""
    return Demand(pair for pair in demand if pair[0] == "CPU")
