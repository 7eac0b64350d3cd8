"""Scripts as a user would write them, with one mistake each, and what is then printed."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).parent.parent.parent
PACKAGE: Final = str(ROOT / "flame_remote") + os.sep


@dataclass
class Printed:
    """What a script printed, and how it ended."""

    output: str
    error: str
    status: int

    def check_told(self, error: str, *fragments: str, lines: int, library_frames: int = 2) -> None:
        """Check that the script ended with an uncaught error that says what it should, briefly."""
        told = lines_of(self.error)
        assert self.status == 1, self
        assert any(line.startswith(f"{error}:") for line in told), self.error
        for fragment in fragments:
            assert fragment in self.error, f"{fragment!r} is not in:\n{self.error}"
        assert len(told) <= lines, self.error
        assert len([line for line in told if PACKAGE in line]) <= library_frames, self.error

    def check_fine(self, output: str) -> None:
        """Check that the script ended well and printed this, and nothing else."""
        assert (self.status, self.error, self.output) == (0, "", textwrap.dedent(output)), self


def lines_of(error: str) -> list[str]:
    """Return the lines of what was printed; of each frame its place and one line of source.

    Each version of Python has its own mind about how many lines a call over several lines fills,
    and where carets stand.
    """
    lines: list[str] = []
    sources = 0
    for line in error.splitlines():
        is_source = line.startswith("    ")
        sources = sources + 1 if is_source else 0
        if sources < 2:
            lines.append(line)
    return lines


Runner = Callable[[str], Printed]


@pytest.fixture(params=["inline", "embedded"])
def engine(request: pytest.FixtureRequest) -> str:
    """Name the engine that a script runs on."""
    name: str = request.param
    return name


@pytest.fixture
def script(engine: str, tmp_path: Path) -> Runner:
    """Return a function that runs a script and returns what it printed."""

    def run(source: str) -> Printed:
        file = tmp_path / "script.py"
        file.write_text("import flame_remote as flame\n" + textwrap.dedent(source))
        ended = subprocess.run(
            [sys.executable, str(file)],
            cwd=tmp_path,
            env=environment(engine),
            capture_output=True,
            text=True,
            timeout=50,
        )
        return Printed(ended.stdout, ended.stderr, ended.returncode)

    return run


def environment(engine: str) -> dict[str, str]:
    """Return the environment of a script: this one, with this copy of the package found first."""
    return {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "FLAME_ENGINE": engine,
        "FLAME_NUM_CPUS": "2",
    }
