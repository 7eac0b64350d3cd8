"""Makes a scenario that fails smaller, as long as it fails in the same place.

`python -m tests.simulation.shrink SEED [FILE]` prints what is left, and writes it to the file.
"""

from __future__ import annotations

import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from copy import deepcopy
from dataclasses import fields
from pathlib import Path
from typing import Any, Final

from .scenario import Scenario, Settings, Template, scenario_of
from .world import World

MOST_RUNS: Final = 600


def failure_of(scenario: Scenario) -> str:
    """Run a scenario; return where it fails, "" if it does not."""
    try:
        World(scenario).run()
    except Exception as error:
        last = traceback.extract_tb(error.__traceback__)[-1]
        return f"{type(error).__name__} in {last.name}: {last.line}"
    return ""


def shrink(scenario: Scenario, most_runs: int = MOST_RUNS) -> Scenario:
    """Return a smaller scenario that fails as the given one does."""
    wanted = failure_of(scenario)
    assert wanted, "it does not fail"
    smallest, runs, progress = scenario, 0, True
    while progress:
        progress = False
        for change in _changes(smallest):
            candidate = deepcopy(smallest)
            if not change(candidate):
                continue
            runs += 1
            if runs > most_runs:
                return smallest
            if failure_of(candidate) == wanted:
                smallest, progress = candidate, True
    return smallest


Change = Callable[[Scenario], bool]  # says whether it has changed anything


def _changes(scenario: Scenario) -> Iterator[Change]:
    """Yield ways to make a scenario smaller, the boldest first. They may come too late: lists are
    shorter when one before has succeeded, and then they change nothing."""
    for number in reversed(range(len(scenario.drivers))):
        yield lambda s, n=number: _cut(s.drivers, n, n + 1)
    lists = [lambda s, n=n: s.drivers[n : n + 1] for n in range(len(scenario.drivers))]
    lists += [lambda s, n=n: [s.templates[n].steps] for n in range(len(scenario.templates))]
    for steps_of in lists:
        length = max(map(len, steps_of(scenario)), default=0)
        size = length
        while size:
            for first in reversed(range(0, length, size)):
                yield lambda s, f=steps_of, a=first, b=first + size: any(
                    _cut(steps, a, b) for steps in f(s)
                )
            size //= 2
    for steps_of in lists:
        for place in range(max(map(len, steps_of(scenario)), default=0)):
            for divisor in (100, 2):
                yield lambda s, f=steps_of, p=place, d=divisor: any(
                    _reduce(steps, p, d) for steps in f(s)
                )
    for field in fields(Settings):
        if field.name not in ("resources", "cycles"):
            yield lambda s, name=field.name: _calm(s.settings, name)
    for n in range(len(scenario.templates)):
        for need, usual in (("environment", ""), ("memory", 0)):
            yield lambda s, n=n, need=need, usual=usual: _plain(s.templates[n], need, usual)


def _cut(items: list[Any], first: int, beyond: int) -> bool:
    before = len(items)
    del items[first:beyond]
    return len(items) < before


def _reduce(steps: list[Any], place: int, divisor: int) -> bool:
    """Make fewer calls of several."""
    where = {"call": 2, "method": 3}.get(steps[place][0]) if place < len(steps) else None
    if where is None or steps[place][where] == 1:
        return False
    steps[place][where] = max(1, steps[place][where] // divisor)
    return True


def _plain(template: Template, need: str, usual: object) -> bool:
    changed = getattr(template, need) != usual
    setattr(template, need, usual)
    return changed


def _calm(settings: Settings, name: str) -> bool:
    usual = getattr(Settings(), name)
    changed = getattr(settings, name) != usual
    setattr(settings, name, usual)
    return changed


# --- to read ----------------------------------------------------------------------------------


def script_of(scenario: Scenario) -> str:
    """Return a scenario as text: the machine, the program, and what came of it."""
    usual = Settings()
    settings = [
        f"{field.name}={getattr(scenario.settings, field.name)}"
        for field in fields(Settings)
        if getattr(scenario.settings, field.name) != getattr(usual, field.name)
    ]
    used = _used(scenario)
    lines = ["machine: " + ", ".join(settings)]
    for number, template in enumerate(scenario.templates):
        if number in used:
            lines.append(f"{_title(number, template)}: {_steps(scenario, template.steps)}")
    for number, steps in enumerate(scenario.drivers):
        lines.append(f"driver thread {number}: {_steps(scenario, steps)}")
    world = World(scenario, traced=True)
    world.log = []
    try:
        world.run()
        lines.append("does not fail; the last events:")
    except Exception as error:
        lines.append(f"fails with {type(error).__name__}: {error}; the last events:")
    return "\n".join(lines + [f"  {line}" for line in world.log[-60:]])


def _used(scenario: Scenario) -> set[int]:
    """Return the numbers of the templates that are called."""
    used: set[int] = set()
    frontier = list(scenario.drivers)
    while frontier:
        for step in frontier.pop():
            number = {"call": 1, "actor": 1, "method": 2}.get(step[0])
            if number is not None and step[number] not in used:
                used.add(step[number])
                frontier.append(scenario.templates[step[number]].steps)
    return used


def _title(number: int, template: Template) -> str:
    words = [f"{template.kind}{number}"]
    words += [f"{name}={amount:g}" for name, amount in template.demand.items()]
    words.append(f"max_retries={template.max_retries}")
    if template.max_concurrency > 1:
        words.append(f"max_concurrency={template.max_concurrency}")
    if template.environment:
        words.append(f"environment={template.environment}")
    if template.memory:
        words.append(f"memory={template.memory}")
    return " ".join(words)


def _steps(scenario: Scenario, steps: Sequence[Any]) -> str:
    return "; ".join(_step(scenario, step) for step in steps) or "nothing"


def _step(scenario: Scenario, step: Sequence[Any]) -> str:
    kind = step[0]
    if kind in ("call", "method"):
        number, copies, argument, shares = step[-4:]
        on = f" on handle -{step[1] + 1}" if kind == "method" else ""
        argument = f", argument -{argument}" if argument else ""
        return (
            f"{copies}x {scenario.templates[number].kind}{number}{on}{argument}"
            + ", with handles" * bool(shares)
        )
    if kind == "actor":
        return f"make actor{step[1]}"
    if kind == "get":
        last = f"-{step[1] + 1}" if step[1] else "the last"
        return f"get {step[2]} up to {last}, {step[3]}"
    if kind == "board":
        return f"get from board -{step[1] + 1}, {step[2]}"
    return " ".join(map(str, step))


def main() -> None:
    """Shrink a seed's scenario."""
    scenario = shrink(scenario_of(int(sys.argv[1])))
    print(script_of(scenario))
    if len(sys.argv) > 2:
        Path(sys.argv[2]).write_text(scenario.to_json() + "\n")


if __name__ == "__main__":
    main()
