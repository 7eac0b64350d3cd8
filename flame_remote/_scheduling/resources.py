"""How much of each resource is there, and how much of it is taken."""

from __future__ import annotations

from collections.abc import Mapping

from flame_remote._spec import Demand


class Lease:
    """What a worker has taken from the pool for tasks that it runs one after the other."""

    __slots__ = ("demand", "lent")

    def __init__(self, demand: Demand) -> None:
        self.demand = demand
        self.lent = False  # its CPUs are lent to others, because its task is blocked


class ResourcePool:
    """Counts resources in whole ten-thousandths, so that nothing is lost to rounding."""

    def __init__(self, amounts: Mapping[str, float]) -> None:
        self.total: dict[str, int] = dict(Demand.of(amounts))
        self.available: dict[str, int] = dict(self.total)

    def fits(self, demand: Demand) -> bool:
        """Say whether `demand` could be taken now."""
        available = self.available
        # A loop takes half the time of all() (benchmarks: submit of no-op tasks).
        for name, units in demand:  # noqa: SIM110
            if available.get(name, 0) < units:
                return False
        return True

    def fits_but_for_cpus(self, demand: Demand) -> bool:
        """Say whether `demand` could be taken now if there were CPUs enough."""
        return self.fits(Demand(pair for pair in demand if pair[0] != "CPU"))

    def take(self, demand: Demand) -> Lease:
        """Take `demand`, even if less is there."""
        self._add(demand, -1)
        return Lease(demand)

    def lend(self, lease: Lease) -> None:
        """Let others have the CPUs of a lease; what else it holds stays with it."""
        if not lease.lent:
            lease.lent = True
            self._add(cpus_of(lease.demand), 1)

    def take_back(self, lease: Lease) -> None:
        """Undo `lend`, even if less is there: a task whose `get` returns must go on."""
        if lease.lent:
            lease.lent = False
            self._add(cpus_of(lease.demand), -1)

    def end(self, lease: Lease) -> None:
        """Put back what a lease has taken."""
        self.take_back(lease)
        self._add(lease.demand, 1)

    def _add(self, demand: Demand, sign: int) -> None:
        available = self.available
        for name, units in demand:
            available[name] = available.get(name, 0) + sign * units


def cpus_of(demand: Demand) -> Demand:
    """Return the part of a demand that a blocked task lends to others: its CPUs only."""
    return Demand(pair for pair in demand if pair[0] == "CPU")
