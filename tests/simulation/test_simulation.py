"""The scheduler in a simulated world: random programs, random faults, every event checked.

A seed makes a program and a world with it; world.py says what is checked. Seeds beyond those of
this suite still find failures (9000018, 10000081 and 11000016 among them), in the scheduler or in
the world itself: FLAME_SIMULATION_SEEDS asks for more seeds.
"""

from __future__ import annotations

import os
from typing import Final

import pytest

from tests.simulation.scenario import scenario_of
from tests.simulation.world import World

SEEDS: Final = int(os.environ.get("FLAME_SIMULATION_SEEDS", 200))
EVENTS: Final = 250_000  # that 200 seeds make at least


@pytest.mark.timeout(600)
def test_random_programs_end_as_they_must_whatever_happens_to_workers() -> None:
    events = 0
    for seed in range(SEEDS):
        world = World(scenario_of(seed))
        try:
            world.run()
        except Exception as error:
            raise AssertionError(f"seed {seed}, after {world.events} events: {error}") from error
        events += world.events
    assert events >= EVENTS


def test_the_same_seed_makes_the_same_events() -> None:
    first, second = World(scenario_of(7)), World(scenario_of(7))
    first.run()
    second.run()
    assert first.events == second.events > 0
    assert len(first.tasks) == len(second.tasks) > 0
