"""How often names are used, as a law: fitted by a grid search that becomes finer and finer.

By the law of Zipf and Mandelbrot the name of rank r is used in proportion to
1 / (r + shift)**power. The best shift and power are those under which the counts are most likely.
numpy is used where it is installed; without it, the same sums take longer.
"""

from __future__ import annotations

import math
from array import array
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

STEPS = 11  # of the grid, in each direction
LEAST_SHIFT = -0.9  # rank 1 must stay above 0
LEVELS = 5  # each is a grid over some three steps of the one before

# Likelihoods for one shift and several powers, for each of several shifts.
Scorer = Callable[[list[float], list[float]], list[list[float]]]


def _numpy_or_none() -> Any:
    try:
        import numpy
    except ImportError:  # the demo is complete without it
        return None
    return numpy


numpy = _numpy_or_none()


@dataclass(frozen=True)
class Law:
    """The law that fits best, and the logarithm of its likelihood."""

    shift: float
    power: float
    log_likelihood: float

    def expected(self, rank: int, names: int, uses: int) -> float:
        """How often the name of this rank should be used, of so many names and uses in all."""
        total = math.fsum((r + self.shift) ** -self.power for r in range(1, names + 1))
        return float(uses * (rank + self.shift) ** -self.power / total)


def counts_by_rank(names: Counter[str]) -> Any:
    """Return how often each name is used, most used first: one array of floats."""
    counts = sorted(map(float, names.values()), reverse=True)
    return array("d", counts) if numpy is None else numpy.array(counts)


def log_likelihoods(counts: Any, shift: float, powers: Sequence[float]) -> list[float]:
    """Return for each power how likely the counts are, as a logarithm."""
    if not len(counts):
        return [0.0] * len(powers)  # no counts are certain under any law
    if numpy is None:
        return _log_likelihoods_in_python(counts, shift, powers)
    logs = numpy.log(numpy.arange(1, len(counts) + 1) + shift)
    uses = counts.sum()
    weighted = (counts * logs).sum()  # not `@`: its last digit depends on the number of threads
    return [
        float(-power * weighted - uses * math.log(numpy.exp(-power * logs).sum()))
        for power in powers
    ]


def _log_likelihoods_in_python(
    counts: Sequence[float], shift: float, powers: Sequence[float]
) -> list[float]:
    logs = [math.log(rank + shift) for rank in range(1, len(counts) + 1)]
    uses = math.fsum(counts)
    weighted = math.fsum(map(float.__mul__, counts, logs))
    return [
        -power * weighted - uses * math.log(math.fsum(math.exp(-power * log) for log in logs))
        for power in powers
    ]


def best_law(score: Scorer) -> Law:
    """Search for the most likely law; `score` does the work for one grid."""
    shifts, powers = _steps(LEAST_SHIFT, 19.1), _steps(0.5, 2.0)
    best = Law(0.0, 0.0, -math.inf)
    for _ in range(LEVELS):
        for shift, row in zip(shifts, score(shifts, powers), strict=True):
            for power, likelihood in zip(powers, row, strict=True):
                if likelihood > best.log_likelihood:
                    best = Law(shift, power, likelihood)
        shifts = _steps_around(best.shift, shifts)
        powers = _steps_around(best.power, powers)
    return best


def _steps(low: float, high: float) -> list[float]:
    return [low + (high - low) * step / (STEPS - 1) for step in range(STEPS)]


def _steps_around(middle: float, old: list[float]) -> list[float]:
    """Return finer steps, from the step before `middle` to the one after it."""
    step = old[1] - old[0]
    return _steps(max(middle - 1.5 * step, LEAST_SHIFT), middle + 1.5 * step)
