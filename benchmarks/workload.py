"""A workload: a name, a sentence, the figures it yields, the function that measures them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, Literal

from benchmarks.adapter import Adapter

# size(full, quick) picks the one that the run wants.
Size = Callable[[int, int], int]
Measures = dict[str, float]


@dataclass(frozen=True, slots=True)
class Metric:
    """What a figure means. `unit` is empty for a plain ratio."""

    unit: str
    better: Literal["higher", "lower"]


SECONDS: Final = Metric("s", "lower")
MILLISECONDS: Final = Metric("ms", "lower")
MICROSECONDS: Final = Metric("us", "lower")
PER_SECOND: Final = Metric("/s", "higher")
MEGABYTES: Final = Metric("MB", "lower")  # 10**6 bytes
BYTES: Final = Metric("B", "lower")
COUNT: Final = Metric("", "lower")
TIMES_LOW: Final = Metric("", "lower")
TIMES_HIGH: Final = Metric("", "higher")


@dataclass(frozen=True, slots=True)
class Workload:
    name: str
    summary: str  # one line, sizes of the full run
    metrics: Mapping[str, Metric]
    measure: Callable[[Adapter, Size], Measures]
    awake: bool = False  # latency: hold the cores awake


def pick_size(quick: bool) -> Size:
    return lambda full, small: small if quick else full
