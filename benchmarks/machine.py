"""What a figure depends on, and nothing that names a machine or a person."""

from __future__ import annotations

import os
import platform
import subprocess
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parent.parent


def machine_facts() -> dict[str, str | int | float]:
    return {
        "cores": len(os.sched_getaffinity(0)),
        "processor": _field(Path("/proc/cpuinfo"), "model name"),
        "memory_gib": round(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30, 1),
        "kernel": platform.release(),
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "load_before": round(os.getloadavg()[0], 2),
    }


def git_commit() -> tuple[str, bool]:
    """Return the commit's short id ("uncommitted" before the first), and if files differ."""
    commit = _git("rev-parse", "--short=12", "HEAD") or "uncommitted"
    return commit, bool(_git("status", "--porcelain"))


def _git(*arguments: str) -> str:
    try:
        run = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True)
    except FileNotFoundError:
        return ""
    return run.stdout.strip() if run.returncode == 0 else ""


def _field(path: Path, name: str) -> str:
    try:
        lines = path.read_text().splitlines()
    except FileNotFoundError:
        return "unknown"
    return next(
        (line.split(":", 1)[1].strip() for line in lines if line.startswith(name)), "unknown"
    )
