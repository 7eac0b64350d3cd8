"""The commands as a user has them: programs, made from what pyproject.toml says they are."""

from __future__ import annotations

import importlib
import io
import json
import os
import re
import stat
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import pytest

ROOT: Final = Path(__file__).resolve().parent.parent.parent
# Nothing of the machine that runs the tests may decide which cluster is asked.
LEADING: Final = re.compile("FLAME_|NO_COLOR|FORCE_COLOR|COLUMNS")


@dataclass
class Ended:
    """What a command printed, and how it ended."""

    status: int
    output: str
    error: str

    @property
    def json(self) -> Any:
        """What it printed, read as JSON."""
        return json.loads(self.output)


@dataclass
class Commands:
    """Runs commands by name. `folder` has the programs; `environment` is added to every run."""

    folder: Path
    home: Path
    environment: Mapping[str, str] = field(default_factory=dict)

    def variables(self, more: Mapping[str, str] | None = None) -> dict[str, str]:
        """Return the environment of a command."""
        kept = {name: value for name, value in os.environ.items() if not LEADING.match(name)}
        path = f"{self.folder}{os.pathsep}{kept['PATH']}"
        mine = {"PATH": path, "HOME": str(self.home), "PYTHONPATH": str(ROOT)}
        return {**kept, **mine, **self.environment, **(more or {})}

    def __call__(
        self, *command: str, env: Mapping[str, str] | None = None, given: str = ""
    ) -> Ended:
        """Run a command to its end; `given` is its standard input."""
        done = subprocess.run(
            command,
            env=self.variables(env),
            cwd=self.home,
            input=given,
            capture_output=True,
            text=True,
            encoding="utf-8",
            timeout=50,
        )
        return Ended(done.returncode, done.stdout, done.stderr)

    def shell(self, line: str) -> Ended:
        """Run a line of bash."""
        return self("bash", "-c", line)

    def start(self, *command: str) -> subprocess.Popen[str]:
        """Start a command, in a process group of its own."""
        return subprocess.Popen(
            command,
            env=self.variables(),
            cwd=self.home,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )


@dataclass
class Inside:
    """Runs commands as `Commands` does, but in this process, which is faster."""

    home: Path
    captured: pytest.CaptureFixture[str]
    environment: Mapping[str, str]

    def __call__(self, *command: str, given: str = "") -> Ended:
        module, function = scripts()[command[0]]
        status: Any = None
        with pytest.MonkeyPatch.context() as patch:
            for name in [name for name in os.environ if LEADING.match(name)]:
                patch.delenv(name)
            for name, value in {**self.environment, "HOME": str(self.home)}.items():
                patch.setenv(name, value)
            patch.chdir(self.home)
            patch.setattr(sys, "argv", list(command))
            patch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(given.encode())))
            try:
                getattr(importlib.import_module(module), function)()
            except SystemExit as end:
                status = end.code
        printed = self.captured.readouterr()
        return Ended(status, printed.out, printed.err)


def scripts() -> dict[str, Sequence[str]]:
    """Return module and function of each program that pyproject.toml names."""
    text = (ROOT / "pyproject.toml").read_text()
    section = text.partition("[project.scripts]\n")[2].partition("\n[")[0]
    entries = re.findall(r'^([\w-]+) = "([\w.]+):(\w+)"$', section, re.MULTILINE)
    return {name: (module, function) for name, module, function in entries}


@pytest.fixture(scope="session")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the programs that installing the package would make."""
    folder = tmp_path_factory.mktemp("bin")
    for name, (module, function) in scripts().items():
        program = folder / name
        program.write_text(
            f"#!{sys.executable}\nimport sys\nfrom {module} import {function}\n"
            f"sys.exit({function}())\n"
        )
        program.chmod(program.stat().st_mode | stat.S_IXUSR)
    return folder


@pytest.fixture
def commands(programs: Path, tmp_path: Path) -> Commands:
    """The commands, without any cluster and with an empty home."""
    return Commands(programs, tmp_path)


@pytest.fixture
def inside(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Inside:
    """The commands in this process, without any cluster and with an empty home."""
    return Inside(tmp_path, capsys, {})
