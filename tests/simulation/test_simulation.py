"""The scheduler in a simulated world: random programs, random faults, every event checked.

A seed makes a program and a world with it: see scenario.py and world.py. checks.py says what must
hold at every moment, deadlocks.py which waits can never end, oracle.py what each task must come to.
FLAME_SIMULATION_SEEDS asks for other seeds than those below, as FIRST-BEYOND. A scenario that has
found a bug is kept in found/, cut down by `python -m tests.simulation.shrink SEED FILE`.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import pytest

from tests.simulation.planted import BUGS, Bug
from tests.simulation.scenario import Scenario, scenario_of
from tests.simulation.shrink import failure_of, script_of, shrink
from tests.simulation.world import World

SEEDS: Final = os.environ.get("FLAME_SIMULATION_SEEDS", "0-880")
EVENTS_PER_SEED: Final = 2_300  # at least, over many: 2 million in all
PROCESSES: Final = min(4, os.cpu_count() or 1)
SEEDS_PER_BUG: Final = 40

ROOT: Final = Path(__file__).parent.parent.parent
FOUND: Final = sorted((Path(__file__).parent / "found").glob("*.json"))


def run_python(*arguments: str, hash_seed: str = "random") -> subprocess.Popen[str]:
    """Start another Python in the repository."""
    return subprocess.Popen(
        [sys.executable, *arguments],
        cwd=ROOT,
        env={**os.environ, "PYTHONHASHSEED": hash_seed},
        stdout=subprocess.PIPE,
        text=True,
    )


def outputs_of(processes: Sequence[subprocess.Popen[str]]) -> list[str]:
    """Wait for processes; return what they have printed."""
    outputs = []
    for process in processes:
        with process:
            outputs.append(process.communicate()[0])
    assert [process.returncode for process in processes] == [0] * len(processes)
    return outputs


@pytest.mark.timeout(900)
def test_random_programs_end_as_they_must_whatever_happens_to_workers() -> None:
    first, beyond = map(int, SEEDS.split("-"))
    shards = [
        run_python("-m", "tests.simulation.campaign", str(start), str(beyond), str(PROCESSES))
        for start in range(first, first + PROCESSES)
    ]
    results: list[dict[str, Any]] = [json.loads(output) for output in outputs_of(shards)]
    for result in results:
        if result["seed"] is not None:
            smaller = shrink(scenario_of(result["seed"]))
            pytest.fail(f"seed {result['seed']}: {result['error']}\n{script_of(smaller)}")
    assert sum(result["events"] for result in results) >= EVENTS_PER_SEED * (beyond - first)


@pytest.mark.parametrize("file", FOUND, ids=lambda file: file.stem)
def test_what_once_failed_does_not_fail_again(file: Path) -> None:
    scenario = Scenario.from_json(file.read_text())
    assert failure_of(scenario) == "", script_of(scenario)


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.name)
def test_planted_bug_is_found(bug: Bug, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bug.owner, bug.attribute, bug.wrong())
    kept = (Scenario.from_json(file.read_text()) for file in FOUND)
    random = (scenario_of(seed) for seed in range(SEEDS_PER_BUG))
    assert any(map(failure_of, kept)) or any(map(failure_of, random))


def number_of_steps(scenario: Scenario) -> int:
    """Count what a program does, in its tasks and in its drivers."""
    return sum(map(len, [t.steps for t in scenario.templates] + scenario.drivers))


def test_failing_program_is_cut_down(monkeypatch: pytest.MonkeyPatch) -> None:
    bug = next(bug for bug in BUGS if bug.name == "loses_what_a_worker_had_not_started")
    monkeypatch.setattr(bug.owner, bug.attribute, bug.wrong())
    scenario = next(filter(failure_of, map(scenario_of, range(SEEDS_PER_BUG))))
    smaller = shrink(scenario, most_runs=200)
    assert failure_of(smaller) == failure_of(scenario)
    assert number_of_steps(smaller) < number_of_steps(scenario) / 2
    script = script_of(smaller)
    assert "driver thread 0: " in script
    assert f"fails with {failure_of(smaller).split()[0]}: " in script
    assert "WorkerLost(" in script


def test_scenario_survives_the_way_through_a_file() -> None:
    scenario = scenario_of(3)
    assert Scenario.from_json(scenario.to_json()) == scenario


def test_same_seed_makes_the_same_events_whatever_the_order_of_sets() -> None:
    script = (
        "from tests.simulation.scenario import scenario_of\n"
        "from tests.simulation.world import World\n"
        "for seed in (7, 8, 12):\n"
        "    world = World(scenario_of(seed), traced=True)\n"
        "    world.run()\n"
        "    print(seed, world.events, world.trace)\n"
    )
    processes = [run_python("-c", script, hash_seed=seed) for seed in ("1", "2", "random")]
    first, *others = outputs_of(processes)
    assert first.count("\n") == 3
    assert others == [first, first]


def test_world_that_never_ends_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.simulation.world.MAX_STEPS", 100)
    with pytest.raises(AssertionError, match="for ever"):
        World(scenario_of(0)).run()
