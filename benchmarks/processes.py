"""What /proc says about a tree of processes. Linux only."""

from __future__ import annotations

import ctypes
import os
import signal
import time
from pathlib import Path
from typing import Final

PR_SET_CHILD_SUBREAPER: Final = 36
POLL_S: Final = 0.01


def adopt_orphans() -> None:
    """Make orphaned descendants children of this process, so that a daemon stays in its tree."""
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def descendants(root: int) -> list[int]:
    """Return the process ids below `root`, parents before children."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and (parent := parent_of(int(entry.name))) is not None:
            children.setdefault(parent, []).append(int(entry.name))
    found: list[int] = []
    frontier = [root]
    while frontier:
        below = children.get(frontier.pop(), [])
        found += below
        frontier += below
    return found


def parent_of(pid: int) -> int | None:
    """Return the parent's id, or None if the process is gone."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return int(stat.rpartition(")")[2].split()[1])  # the name before it may hold any character


def tree_pss_bytes(root: int) -> int:
    """Return the proportional set size of `root` and all below it: shared pages counted once."""
    return sum(pss_bytes(pid) for pid in [root, *descendants(root)])


def pss_bytes(pid: int) -> int:
    return _kilobytes(Path(f"/proc/{pid}/smaps_rollup"), "Pss:")


def rss_bytes() -> int:
    """Return this process's resident memory."""
    return _kilobytes(Path("/proc/self/status"), "VmRSS:")


def end_descendants(grace_s: float) -> int:
    """Wait for all below this process to end, then SIGKILL by id; return how many were killed.

    For a process that has adopted its orphans and waits for no child of its own in another place.
    """
    me = os.getpid()
    end = time.monotonic() + grace_s
    killed: set[int] = set()
    while pids := descendants(me):
        if time.monotonic() >= end:
            for pid in pids:
                _kill(pid)
            killed.update(pids)
        _reap()
        time.sleep(POLL_S)
    return len(killed)


def _kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return  # ended by itself


def _reap() -> None:
    """Take the exit status of each child that has ended, so that its id is free."""
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        return  # no children left


def _kilobytes(path: Path, field: str) -> int:
    """Return a field's value in bytes; 0 if the process is gone or has no memory."""
    try:
        lines = path.read_text().splitlines()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith(field))
