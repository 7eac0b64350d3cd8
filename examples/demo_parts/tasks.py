"""What runs in workers: the same functions and the same class also make the serial run."""

from __future__ import annotations

from typing import Any

import flame_remote as flame

from .analysis import Report, report_on
from .import_graph import ImportFacts, import_facts
from .sources import SourceFile
from .zipf import Law, best_law, log_likelihoods


@flame.remote
def analyse(files: list[SourceFile]) -> Report:
    """Analyse a group of files."""
    return report_on(files)


class Tally(flame.Actor):  # as `@flame.remote class Tally`, but type checkers can follow it
    """Adds up the reports of all groups."""

    def __init__(self) -> None:
        self._report = Report()

    @flame.method
    def add(self, report: Report) -> int:
        """Take in a report; return how many files there are so far."""
        self._report.add(report)
        return self._report.files

    @flame.method
    def total(self) -> Report:
        """Return the sum of all reports."""
        return self._report


@flame.remote
def look_at_imports(report: Report) -> ImportFacts:
    """Look at the import graph of all files together."""
    return import_facts(report.imports)


@flame.remote
def score(counts: Any, shift: float, powers: list[float]) -> list[float]:
    """Do one row of a grid."""
    return log_likelihoods(counts, shift, powers)


@flame.remote
def fit(shared: list[flame.ObjectRef[Any]]) -> Law:
    """Fit the law of Zipf and Mandelbrot by tasks of its own, one per row of a grid.

    `shared` is a list of one ref: as it is in a list it stays a ref, and all rows take its value
    from the same memory.
    """
    (counts,) = shared

    def score_by_tasks(shifts: list[float], powers: list[float]) -> list[list[float]]:
        return flame.get([score.remote(counts, shift, powers) for shift in shifts])

    return best_law(score_by_tasks)


def fit_serially(counts: Any) -> Law:
    """Do what `fit` does, here."""
    return best_law(lambda shifts, powers: [score(counts, shift, powers) for shift in shifts])
