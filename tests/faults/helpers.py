"""What several of these tests need: ways to wait for a task, and for the end of processes."""

from __future__ import annotations

import os
import select
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

import psutil

import flame_remote as flame


@flame.remote
def square(x: int) -> int:
    return x * x


def require_alive() -> None:
    """Check that the engine runs tasks as ever."""
    assert flame.get([square.remote(n) for n in range(100)]) == [n * n for n in range(100)]


# --- what tasks say and hear ------------------------------------------------------------------


def say(pipe: str, text: str) -> None:
    """Write a line into a named pipe. Blocks until somebody has it open for reading."""
    with open(pipe, "w") as file:
        file.write(f"{text}\n")


class Pipe:
    """A named pipe, that tasks write lines into. Open as long as it is there."""

    def __init__(self, folder: Path, name: str = "pipe") -> None:
        self.path = str(folder / name)
        os.mkfifo(self.path)
        # For writing, too: else there would be an end of file whenever no task has it open.
        self._file = os.fdopen(os.open(self.path, os.O_RDWR), closefd=True)

    def line(self) -> str:
        """Return the next line; blocks until it is there."""
        return self._file.readline().strip()

    def __enter__(self) -> Pipe:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()


def note(ledger: str, text: str) -> int:
    """Add a line to a file that many processes write into; return how many are there now."""
    descriptor = os.open(ledger, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        os.write(descriptor, f"{text}\n".encode())
    finally:
        os.close(descriptor)
    return Path(ledger).read_text().splitlines().count(text)


# --- processes --------------------------------------------------------------------------------


def descendants(pid: int) -> list[int]:
    """Return the processes below a process, those below them, and so on."""
    return [child.pid for child in psutil.Process(pid).children(recursive=True)]


class Watched:
    """Processes whose end is waited for. Knows them apart from later ones with their numbers."""

    def __init__(self, pids: Iterable[int]) -> None:
        self._descriptors: dict[int, int] = {}
        for pid in pids:
            with suppress(ProcessLookupError):  # it has ended already
                self._descriptors[os.pidfd_open(pid)] = pid

    def alive_after(self, seconds: float) -> list[int]:
        """Wait until all have ended, so long at most; return those that have not."""
        deadline = time.monotonic() + seconds
        alive = dict(self._descriptors)
        poll = select.poll()
        for descriptor in alive:
            poll.register(descriptor, select.POLLIN)
        while alive:
            left = max(0.0, deadline - time.monotonic())
            ended = poll.poll(left * 1000)
            for descriptor, _ in ended:
                poll.unregister(descriptor)
                del alive[descriptor]
            if not ended:
                break
        return list(alive.values())

    def __enter__(self) -> Watched:
        return self

    def __exit__(self, *_: object) -> None:
        for descriptor in self._descriptors:
            os.close(descriptor)
