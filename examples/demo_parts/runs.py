"""The whole job, once by tasks and once serially, and whether both have the same results."""

from __future__ import annotations

import gc
import time
from dataclasses import dataclass

import flame_remote as flame

from .analysis import Report
from .import_graph import ImportFacts
from .sources import SourceFile
from .tasks import Tally, analyse, fit, fit_serially, look_at_imports
from .zipf import Law, counts_by_rank

Groups = list[list[SourceFile]]


@dataclass
class Results:
    """All that a run has found out, and how long it took."""

    reports: list[Report]
    files_so_far: list[int]
    total: Report
    imports: ImportFacts
    law: Law
    seconds: float


@dataclass
class Comparison:
    """How many results were compared, and which of them differ."""

    compared: int
    differing: list[str]


def run_by_tasks(groups: Groups) -> Results:
    """Do the job on workers. The time includes their start."""
    began = time.perf_counter()
    reports = [analyse.remote(group) for group in groups]
    tally = Tally.remote()
    files_so_far = [tally.add.remote(report) for report in reports]  # its value arrives there
    total_ref = tally.total.remote()
    imports = look_at_imports.remote(total_ref)
    total = flame.get(total_ref)
    counts = flame.put(counts_by_rank(total.names))
    law = fit.remote([counts])
    return Results(
        flame.get(reports),
        flame.get(files_so_far),
        total,
        flame.get(imports),
        flame.get(law),
        time.perf_counter() - began,
    )


def run_serially(groups: Groups) -> Results:
    """Do the same job with the same functions, one after the other in this process."""
    gc.freeze()  # this run need not search through the results of the other one for garbage
    began = time.perf_counter()
    reports = [analyse(group) for group in groups]
    tally = Tally()
    files_so_far = [tally.add(report) for report in reports]
    total = tally.total()
    imports = look_at_imports(total)
    law = fit_serially(counts_by_rank(total.names))
    return Results(reports, files_so_far, total, imports, law, time.perf_counter() - began)


def compare(one: Results, other: Results) -> Comparison:
    """Compare every single result of two runs."""
    pairs: dict[str, tuple[object, object]] = {
        f"report on group {number}": pair
        for number, pair in enumerate(zip(one.reports, other.reports, strict=True))
    }
    pairs |= {
        f"count of files after group {number}": pair
        for number, pair in enumerate(zip(one.files_so_far, other.files_so_far, strict=True))
    }
    pairs["sum of all reports"] = (one.total, other.total)
    pairs["import graph"] = (one.imports, other.imports)
    pairs["fitted law"] = (one.law, other.law)
    return Comparison(len(pairs), [what for what, (a, b) in pairs.items() if a != b])
