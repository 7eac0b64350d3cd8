"""docs/commands.md: every command on it is run, and prints what stands below it."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import pytest

from flame_remote._cli.ending import ExitCode
from flame_remote._cli.flmctl import flmctl
from flame_remote._cli.local import flame_remote

from .conftest import ROOT, Commands

PAGE: Final = (ROOT / "docs" / "commands.md").read_text(encoding="utf-8")
USUAL: Final = {"endpoint": "http://127.0.0.1:8080", "cache_endpoint": "grpc://127.0.0.1:9090"}
END: Final = "--- end of command ---"


@dataclass
class Step:
    """A command of the page with what it should print, or a file that it shows."""

    command: str
    line: int
    output: list[str] = field(default_factory=list)


def steps() -> Iterator[Step]:
    """Yield the commands in `console` blocks; a `yaml` block is written to the file it names."""
    language, step, started = "", None, 0
    for number, line in enumerate(PAGE.splitlines(), 1):
        if line.startswith("```"):
            if step is not None:
                yield step
            language, step, started = line[3:], None, number
        elif language == "console" and line.startswith("$ "):
            if step is not None:
                yield step
            step = Step(line[2:], number)
        elif language == "yaml" and number == started + 1:
            step = Step(f"cat > {line.removeprefix('# ')} << 'END'\n{line}\nEND", number)
        elif language == "yaml" and step is not None:
            step.command = step.command.removesuffix("END") + f"{line}\nEND"
        elif step is not None:
            step.output.append(line)


def pattern(lines: list[str]) -> str:
    """Return what the output must match: `...` is anything, and blanks after it are not counted."""
    text = re.escape("\n".join(lines) + "\n" if lines else "")
    return re.sub(r"\\\.\\\.\\\.(\\ )*", ".*?", text)


@pytest.fixture
def commands(programs: Path, tmp_path: Path) -> Iterator[Commands]:
    for name in ("home", "run"):
        (tmp_path / name).mkdir()
    mine = Commands(programs, tmp_path / "home", {"XDG_RUNTIME_DIR": str(tmp_path / "run")})
    yield mine
    mine("flame-remote", "down")


def test_every_command_prints_what_stands_below_it(commands: Commands) -> None:
    """One shell runs them all. The cluster takes free ports, and is told to have the usual ones."""
    found = list(steps())
    assert found[0].command == "flame-remote up"
    started = commands("flame-remote", "up", "--port", "0", "--cache-port", "0", "--json").json
    variables = commands.variables(
        {"FLAME_ENDPOINT": started["endpoint"], "FLAME_CACHE_ENDPOINT": started["cache_endpoint"]}
    )
    script = "".join(
        f"{{ {step.command}\n}} 2>&1; s=$?; [ $s = 0 ] || echo \"[exit code $s]\"; echo '{END}'\n"
        for step in found[1:]
    )
    ended = subprocess.run(
        ["bash", "-s"],
        input=script,
        env=variables,
        cwd=commands.home,
        capture_output=True,
        text=True,
        timeout=50,
    )
    printed = ended.stdout
    for name, address in USUAL.items():
        printed = printed.replace(started[name], address)
    outputs = printed.split(END + "\n")
    for step, output in zip(found[1:], outputs, strict=False):
        expected = "\n".join(step.output)
        assert re.fullmatch(pattern(step.output), output, re.DOTALL), (
            f"commands.md, line {step.line}: expected\n{expected}\nbut it printed\n{output}"
        )
    assert outputs[len(found) - 1 :] == [""]


def test_every_exit_code_is_explained() -> None:
    assert re.findall(r"^\| (\d+) \|", PAGE, re.MULTILINE) == [str(int(code)) for code in ExitCode]


def test_every_command_is_on_the_page() -> None:
    for group in (flmctl, flame_remote):
        for name in group.commands:
            assert f"{group.name} {name}" in PAGE
