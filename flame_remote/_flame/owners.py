"""Which process an application belongs to, written down as labels, and whether it still runs.

A pid says nothing on another machine, nor after a restart, nor in another container: so the host's
label names all three. A process is told from a later one of the same pid by when it began.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterable
from typing import Final

OWNER: Final = "flame-remote.owner="  # <pid>:<start, in clock ticks since the machine was started>
HOST: Final = "flame-remote.host="


def labels() -> list[str]:
    """Return the labels of an application that belongs to this process."""
    return [f"{OWNER}{os.getpid()}:{_start_of(os.getpid())}", f"{HOST}{host()}"]


def host() -> str:
    """Name this machine, since when it runs, and the container that this process is in."""
    return "/".join([socket.gethostname(), _boot_id(), _namespace()])


def is_orphan(found: Iterable[str]) -> bool:
    """Say whether labels are those of a process of this host that is no more."""
    names = list(found)
    if f"{HOST}{host()}" not in names:
        return False
    for name in names:
        if name.startswith(OWNER):
            pid, _, start = name.removeprefix(OWNER).partition(":")
            return not pid.isdigit() or _start_of(int(pid)) != start
    return False


def _start_of(pid: int) -> str:
    """Return when a process began, "" if there is none, or only its remains."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            stat = file.read()
    except OSError:
        return _start_by_psutil(pid) if not os.path.exists("/proc/self") else ""
    fields = stat[stat.rindex(b")") + 2 :].split()  # behind the name, which may contain anything
    return "" if fields[0] in (b"Z", b"X") else fields[19].decode()


def _start_by_psutil(pid: int) -> str:
    import psutil

    try:
        return str(psutil.Process(pid).create_time())
    except psutil.Error:
        return ""


def _boot_id() -> str:
    try:
        with open("/proc/sys/kernel/random/boot_id") as file:
            return file.read().strip()
    except OSError:
        return ""


def _namespace() -> str:
    try:
        return os.readlink("/proc/self/ns/pid")
    except OSError:
        return ""
