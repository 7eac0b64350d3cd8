"""The processes that applications belong to, and noticing that one is gone.

A process is named by its pid and the moment it was started, in clock ticks since the machine was
(field 22 of /proc/<pid>/stat), so that a pid that is used again is not mistaken for it.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from contextlib import suppress
from typing import Final

LABEL: Final = "flame-remote.owner="
RUNNER: Final = "runner."  # before the labels of applications that Runners make


def owner_in(labels: list[str]) -> str:
    """Return what follows LABEL, "<pid>:<start time>", or "" if there is no such label."""
    for label in labels:
        name = label.removeprefix(RUNNER)
        if name.startswith(LABEL):
            return name.removeprefix(LABEL)
    return ""


def start_time_of(pid: int) -> str | None:
    """Return when a process was started, None if there is none."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            stat = file.read()
    except OSError:
        return None
    # The name is in parentheses and may contain anything, so count from the last one.
    return stat[stat.rindex(b")") + 2 :].split()[19].decode()


def is_alive(pid: int, started: str) -> bool:
    """Say whether this very process exists, a zombie not counted."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            stat = file.read()
    except OSError:
        return False
    fields = stat[stat.rindex(b")") + 2 :].split()
    return fields[19].decode() == started and fields[0] not in (b"Z", b"X")


class OwnerWatch:
    """Calls back when an owner is gone. Belongs to the loop's thread."""

    def __init__(self, on_gone: Callable[[str, str], None]) -> None:
        """`on_gone` is called with application and owner, for each owner that has ended."""
        self._on_gone = on_gone
        self._watched: dict[str, tuple[int, set[str]]] = {}  # owner -> pidfd, applications

    def watch(self, application: str, owner: str) -> None:
        """Watch the owner of an application; calls back soon if it is gone already."""
        if owner in self._watched:
            self._watched[owner][1].add(application)
            return
        pid, _, started = owner.partition(":")
        descriptor = -1
        with suppress(OSError, ValueError):
            descriptor = os.pidfd_open(int(pid))
        self._watched[owner] = (descriptor, {application})
        loop = asyncio.get_running_loop()
        if descriptor < 0 or not is_alive(int(pid), started):
            loop.call_soon(self._gone, owner)
        else:
            loop.add_reader(descriptor, self._gone, owner)

    def _gone(self, owner: str) -> None:
        if owner not in self._watched:
            return
        descriptor, applications = self._watched.pop(owner)
        self._release(descriptor)
        for application in sorted(applications):
            self._on_gone(application, owner)

    def close(self) -> None:
        """Stop watching."""
        for descriptor, _ in self._watched.values():
            self._release(descriptor)
        self._watched.clear()

    def _release(self, descriptor: int) -> None:
        if descriptor >= 0:
            asyncio.get_running_loop().remove_reader(descriptor)
            os.close(descriptor)
