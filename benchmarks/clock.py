"""Timing in one place: seconds, `perf_counter`, garbage collection as the user has it."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Final

# A slow peer gets fewer rounds rather than an evening.
BUDGET_S: Final = 15.0

now: Final = time.perf_counter


def seconds_of(action: Callable[[], object]) -> float:
    start = now()
    action()
    return now() - start


def samples(measure: Callable[[], float], rounds: int, budget_s: float = BUDGET_S) -> list[float]:
    """Call `measure` up to `rounds` times; at least once, not again when the budget is spent."""
    start = now()
    values = [measure()]
    while len(values) < rounds and now() - start < budget_s:
        values.append(measure())
    return values


def timings(action: Callable[[], object], rounds: int, budget_s: float = BUDGET_S) -> list[float]:
    return samples(lambda: seconds_of(action), rounds, budget_s)


def quantile(values: Sequence[float], share: float) -> float:
    """Return the value below which `share` of the values lie; share in [0, 1)."""
    return sorted(values)[int(len(values) * share)]
