"""What one system did with one workload."""

from __future__ import annotations

import re
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, Literal

Status = Literal["ok", "cannot", "missing", "failed", "timeout"]

# Words for a cell that has no figure.
STATUS_WORDS: Final[dict[Status, str]] = {
    "cannot": "-",
    "missing": "not here",
    "failed": "failed",
    "timeout": "timeout",
}


@dataclass(frozen=True, slots=True)
class Result:
    """`metrics` is None unless `status` is "ok"; then `reason` says why, in one line."""

    system: str
    workload: str
    status: Status
    metrics: dict[str, float] | None = None
    reason: str | None = None
    seconds: float = 0.0  # of the whole process, warm-up and all
    awake: str = "no"  # what kept the cores awake; see awake.py
    versions: dict[str, str] = field(default_factory=dict)  # of Python and the system


def one_line(error: BaseException) -> str:
    """Return the error's type and first line, without the paths of this machine."""
    first = (str(error).splitlines() or [""])[0]
    return f"{type(error).__name__}: {re.sub(r'(?<![^ (])/[^ )]+', '<path>', first)}"[:200]


def median_of(results: Sequence[Result]) -> Result:
    """Return one result for a pair's repeats: medians, or the first result that is not ok."""
    for result in results:
        if result.metrics is None:
            return result
    good = [result.metrics for result in results if result.metrics is not None]
    first = results[0]
    return Result(
        system=first.system,
        workload=first.workload,
        status="ok",
        metrics={name: statistics.median(one[name] for one in good) for name in good[0]},
        seconds=sum(result.seconds for result in results),
        awake=first.awake,
        versions=first.versions,
    )
