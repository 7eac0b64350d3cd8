"""A run as JSON: results, verdicts, commit and machine."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Final

from benchmarks.machine import git_commit, machine_facts
from benchmarks.result import Result
from benchmarks.targets import TARGETS, judge

RESULTS_FOLDER: Final = Path(__file__).parent / "results"
FORMAT: Final = 1  # grows when a reader of older files would misread newer ones


def new_record(quick: bool, repeats: int) -> dict[str, Any]:
    """Return what is known before the first workload; `finish` adds the rest."""
    commit, changed = git_commit()
    return {
        "format": FORMAT,
        "date": datetime.now(timezone.utc).strftime("%Y-%m-%d"),
        "commit": commit,
        "changed_since_commit": changed,
        "quick": quick,
        "repeats": repeats,
        "machine": machine_facts(),
    }


def finish(record: dict[str, Any], results: Sequence[Result]) -> dict[str, Any]:
    verdicts = [judge(target, results) for target in TARGETS]
    return record | {
        "results": [asdict(result) for result in results],
        "verdicts": [asdict(verdict) for verdict in verdicts if verdict.value is not None],
    }


def saved_path(record: dict[str, Any]) -> Path:
    return RESULTS_FOLDER / f"{record['date']}-{record['commit']}.json"
