"""The main job: analyse Python source text on all cores, and check it against a serial run.

    python3 run.py demo                      the running Python's own standard library
    python3 run.py demo FILE_OR_FOLDER ...   other source text

Groups of files are analysed by tasks, an actor adds the reports up, a task looks at the import
graph of all files, and another one fits a law to how often names are used, by tasks of its own that
share one array. The same functions then run one after the other in this process, and every result
is compared. Ends with status 1 if one differs, 2 if there is nothing to analyse.
"""

from __future__ import annotations

import sys
from pathlib import Path

from demo_parts.printing import tell_comparison, tell_results, tell_sources, tell_times
from demo_parts.runs import compare, run_by_tasks, run_serially
from demo_parts.sources import Sources, sources_at, standard_library

import flame_remote as flame


def main(paths: list[str]) -> int:
    """Do the job for these files and folders; return the exit status."""
    missing = [path for path in paths if not Path(path).exists()]
    if missing:
        return _refuse(f"no such file or folder: {', '.join(missing)}")
    sources = sources_at(paths) if paths else standard_library()
    if not sources.files:
        return _refuse(f"there is no Python file in {sources.title}")
    return _analyse(sources)


def _analyse(sources: Sources) -> int:
    tell_sources(sources)
    groups = sources.groups()
    with flame.init() as session:  # only to ask about it; the first call would start it too
        results = run_by_tasks(groups)
        cpus = f"{session.resources['CPU']:g} CPU{'s' * (session.resources['CPU'] != 1)}"
        where = f"on {cpus} ({session.config.engine} engine)"
    tell_results(results, sources)
    serial = run_serially(groups)
    comparison = compare(results, serial)
    tell_comparison(comparison)
    tell_times(results, serial, where)
    return 1 if comparison.differing else 0


def _refuse(reason: str) -> int:
    print(f"demo: {reason}", file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
