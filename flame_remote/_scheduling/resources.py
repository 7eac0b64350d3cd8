"""How much of each resource is there, and how much of it is taken."""

from __future__ import annotations

from collections.abc import Mapping

from flame_remote._spec import Demand


class Lease:
    """What a worker has taken from the pool for tasks that it runs one after the other."""

    __slots__ = ("demand", "devices", "lent")

    def __init__(self, demand: Demand, devices: tuple[int, ...] = ()) -> None:
        self.demand = demand
        self.devices = devices  # GPUs, by number
        self.lent = False  # its CPUs are lent to others, because its task is blocked


class ResourcePool:
    """Counts resources in whole ten-thousandths, so that nothing is lost to rounding.

    GPUs are not only counted but taken one by one: whole ones by whoever asks for one or more, and
    a part of a single one by whoever asks for less.
    """

    def __init__(self, amounts: Mapping[str, float]) -> None:
        self.total: dict[str, int] = dict(Demand.of(amounts))
        self.available: dict[str, int] = dict(self.total)
        self.gpus = _gpus_of(self.total.get("GPU", 0))  # of each GPU, how much there is
        self.free_of_gpus = list(self.gpus)

    def fits(self, demand: Demand) -> bool:
        """Say whether `demand` could be taken now."""
        available = self.available
        # A loop takes half the time of all() (benchmarks: submit of no-op tasks).
        for name, units in demand:
            if available.get(name, 0) < units:
                return False
        return not self.gpus or self._choose_gpus(demand) is not None

    def fits_but_for_cpus(self, demand: Demand) -> bool:
        """Say whether `demand` could be taken now if there were CPUs enough."""
        return self.fits(Demand(pair for pair in demand if pair[0] != "CPU"))

    def take(self, demand: Demand) -> Lease:
        """Take `demand`, even if less is there; but GPUs only if they are."""
        devices = self.devices_for(demand)
        self._add(demand, -1)
        for device in devices:
            self.free_of_gpus[device] -= _share(demand)
        return Lease(demand, devices)

    def devices_for(self, demand: Demand) -> tuple[int, ...]:
        """Return the GPUs that `take` would take. They are there: `fits` has said so."""
        devices = self._choose_gpus(demand) if self.gpus else ()
        assert devices is not None, "a GPU must not be given away twice"
        return devices

    def is_given_away(self, device: int) -> bool:
        """Say whether nothing is left of a GPU."""
        return self.free_of_gpus[device] <= 0

    def _choose_gpus(self, demand: Demand) -> tuple[int, ...] | None:
        """Return the GPUs for a demand, None if they are not free.

        A part is taken of the one that has the least to spare, so that whole ones stay whole.
        """
        units, free = demand.gpu_units, self.free_of_gpus
        if not units:
            return ()
        if units >= Demand.UNIT:
            number = units // Demand.UNIT
            whole = [device for device, left in enumerate(free) if left >= Demand.UNIT]
            return tuple(whole[:number]) if len(whole) >= number else None
        fitting = [(left, device) for device, left in enumerate(free) if left >= units]
        return (min(fitting)[1],) if fitting else None

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
        for device in lease.devices:
            self.free_of_gpus[device] += _share(lease.demand)

    def _add(self, demand: Demand, sign: int) -> None:
        available = self.available
        for name, units in demand:
            available[name] = available.get(name, 0) + sign * units


def cpus_of(demand: Demand) -> Demand:
    """Return the part of a demand that a blocked task lends to others: its CPUs only."""
    return Demand(pair for pair in demand if pair[0] == "CPU")


def _gpus_of(units: int) -> list[int]:
    """Return how much there is of each GPU: all of it, or of the last one perhaps a part."""
    whole, part = divmod(units, Demand.UNIT)
    return [Demand.UNIT] * whole + ([part] if part else [])


def _share(demand: Demand) -> int:
    """Return what a demand takes of each GPU that it gets."""
    return min(demand.gpu_units, Demand.UNIT)
