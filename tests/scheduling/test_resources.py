from __future__ import annotations

import pytest

from flame_remote._scheduling.resources import ResourcePool, cpus_of
from flame_remote._spec import Demand


@pytest.fixture
def pool() -> ResourcePool:
    return ResourcePool({"CPU": 2, "GPU": 1})


def test_demand_fits_until_its_resources_are_taken(pool: ResourcePool) -> None:
    demand = Demand.of({"CPU": 1, "GPU": 0.5})
    for _ in range(2):
        assert pool.fits(demand)
        pool.take(demand)
    assert not pool.fits(demand)
    assert not pool.fits(Demand.of({"CPU": 0.1}))


def test_nothing_always_fits(pool: ResourcePool) -> None:
    pool.take(Demand.of({"CPU": 2, "GPU": 1}))
    assert pool.fits(Demand())


def test_resource_that_is_not_there_never_fits(pool: ResourcePool) -> None:
    assert not pool.fits(Demand.of({"TPU": 1}))


def test_ended_lease_puts_back_what_it_took(pool: ResourcePool) -> None:
    lease = pool.take(Demand.of({"CPU": 2, "GPU": 1}))
    pool.end(lease)
    assert pool.available == pool.total == {"CPU": 20_000, "GPU": 10_000}


def test_tenths_add_up_exactly(pool: ResourcePool) -> None:
    leases = [pool.take(Demand.of({"CPU": 0.1})) for _ in range(20)]
    assert pool.available["CPU"] == 0
    for lease in leases:
        pool.end(lease)
    assert pool.available == pool.total


def test_only_cpus_are_lent(pool: ResourcePool) -> None:
    lease = pool.take(Demand.of({"CPU": 2, "GPU": 1}))
    pool.lend(lease)
    assert pool.available == {"CPU": 20_000, "GPU": 0}
    assert cpus_of(lease.demand) == (("CPU", 20_000),)


def test_lending_twice_lends_once(pool: ResourcePool) -> None:
    lease = pool.take(Demand.of({"CPU": 1}))
    pool.lend(lease)
    pool.lend(lease)
    assert pool.available["CPU"] == 20_000
    pool.take_back(lease)
    pool.take_back(lease)
    assert pool.available["CPU"] == 10_000


def test_lent_cpus_are_taken_back_even_when_others_have_them(pool: ResourcePool) -> None:
    lease = pool.take(Demand.of({"CPU": 2}))
    pool.lend(lease)
    pool.take(Demand.of({"CPU": 2}))
    pool.take_back(lease)
    assert pool.available["CPU"] == -20_000
    assert not pool.fits(Demand.of({"CPU": 0.1}))


def test_ended_lease_that_was_lent_is_not_put_back_twice(pool: ResourcePool) -> None:
    lease = pool.take(Demand.of({"CPU": 1, "GPU": 1}))
    pool.lend(lease)
    pool.end(lease)
    assert pool.available == pool.total


def test_demand_may_fit_but_for_cpus(pool: ResourcePool) -> None:
    pool.take(Demand.of({"CPU": 2}))
    assert pool.fits_but_for_cpus(Demand.of({"CPU": 1, "GPU": 1}))
    pool.take(Demand.of({"GPU": 1}))
    assert not pool.fits_but_for_cpus(Demand.of({"CPU": 1, "GPU": 1}))


# --- GPUs -----------------------------------------------------------------------------------------


def test_whole_gpus_are_given_to_one_at_a_time() -> None:
    pool = ResourcePool({"GPU": 3})
    two = Demand.of({"GPU": 2})
    lease = pool.take(two)
    assert lease.devices == (0, 1)
    assert not pool.fits(two)
    assert pool.take(Demand.of({"GPU": 1})).devices == (2,)
    pool.end(lease)
    assert pool.take(two).devices == (0, 1)


def test_parts_share_one_gpu_so_that_whole_ones_stay_whole() -> None:
    pool = ResourcePool({"GPU": 2})
    part = Demand.of({"GPU": 0.4})
    assert [pool.take(part).devices for _ in range(2)] == [(0,), (0,)]
    assert pool.take(Demand.of({"GPU": 1})).devices == (1,)
    assert not pool.fits(part)  # 0.2 are left
    assert pool.fits(Demand.of({"GPU": 0.2}))


def test_parts_of_several_gpus_are_no_whole_one() -> None:
    pool = ResourcePool({"GPU": 2})
    whole, part = Demand.of({"GPU": 1}), Demand.of({"GPU": 0.6})
    first = pool.take(part)
    pool.take(part)
    assert pool.available["GPU"] == 8_000
    assert not pool.fits(part)
    pool.end(first)
    assert pool.take(whole).devices == (0,)


def test_part_of_a_gpu_can_be_all_there_is_of_the_last() -> None:
    pool = ResourcePool({"GPU": 1.5})
    assert pool.take(Demand.of({"GPU": 0.5})).devices == (1,)
    assert pool.take(Demand.of({"GPU": 1})).devices == (0,)
