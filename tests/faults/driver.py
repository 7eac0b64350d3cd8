"""A program of programs.py as a process of its own, in folders of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from .helpers import Watched, descendants

_HERE = Path(__file__).resolve().parent
GONE_SECONDS = 2.0  # that long may something of a dead driver be left


class Driver:
    """A running program that has written "ready"; `words` is what it wrote behind it."""

    def __init__(self, folder: Path, name: str, *arguments: object) -> None:
        self._folders = [folder / "cwd", folder / "tmp"]
        for path in self._folders:
            path.mkdir(parents=True)
        self._shared_memory = _names("/dev/shm")
        environment = {
            **os.environ,
            "PYTHONPATH": str(_HERE.parent.parent),
            "TMPDIR": str(self._folders[1]),
            "FLAME_NUM_CPUS": "2",
        }
        self._errors = (folder / "stderr").open("w+")
        self._process = subprocess.Popen(
            [sys.executable, str(_HERE / "programs.py"), name, *map(str, arguments)],
            cwd=self._folders[0],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
            start_new_session=True,
        )
        self.pid = self._process.pid
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._input, self._output = self._process.stdin, self._process.stdout
        first = self._output.readline().split()
        assert first[:1] == ["ready"], self._diagnosis(first)
        self.words = first[1:]
        self._below = Watched([*descendants(self.pid), *map(int, self.words)])

    def go_on(self) -> None:
        """Write the line that it waits for."""
        self._input.write("\n")
        self._input.flush()

    def wait(self) -> int:
        """Wait until it has ended; return its exit status, negative for a signal."""
        return self._process.wait()

    def output(self) -> str:
        """Return what it wrote behind the first line. It must have ended."""
        return self._output.read()

    def errors(self) -> str:
        """Return what it has written to its standard error."""
        self._errors.seek(0)
        return self._errors.read()

    def left_behind(self) -> list[str]:
        """Return what is left of it, GONE_SECONDS after it has ended."""
        left = [f"process {pid}" for pid in self._below.alive_after(GONE_SECONDS)]
        new = _names("/dev/shm") - self._shared_memory
        left += [f"/dev/shm/{name}" for name in new if "flame" in name]
        return left + [str(path) for folder in self._folders for path in folder.rglob("*")]

    def __enter__(self) -> Driver:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()
        self._below.__exit__()
        for file in (self._input, self._output, self._errors):
            file.close()

    def _diagnosis(self, first: object) -> str:
        self._process.kill()
        self._process.wait()
        return f"{first}: {self.errors()}"


def _names(folder: str) -> set[str]:
    try:
        return set(os.listdir(folder))
    except OSError:
        return set()
