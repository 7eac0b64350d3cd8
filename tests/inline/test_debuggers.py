"""The inline engine under debuggers, tracers and coverage tools, each in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent


def run(tmp_path: Path, source: str, *arguments: str, typed: str = "") -> tuple[str, str, int]:
    """Run a script with `python arguments script`, with `typed` at its standard input."""
    file = tmp_path / "script.py"
    file.write_text(textwrap.dedent(source))
    ended = subprocess.run(
        [sys.executable, *arguments, str(file)],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT), "FLAME_ENGINE": "inline"},
        input=typed,
        capture_output=True,
        text=True,
        timeout=50,
    )
    return ended.stdout, ended.stderr, ended.returncode


SCRIPT = """
import flame_remote as flame

@flame.remote
def square(x):
    result = x * x
    {stop}
    return result

@flame.remote
class Counter:
    async def add(self, n):
        total = n + 1
        {stop}
        return total

print("got", flame.get(square.remote(3)))
print("got", flame.get(Counter.remote().add.remote(1)))
"""


def test_breakpoint_stops_inside_a_task_and_shows_its_variables(tmp_path: Path) -> None:
    typed = "p result + 1000\nc\np total + 2000\nc\n"
    output, error, status = run(tmp_path, SCRIPT.format(stop="breakpoint()"), typed=typed)
    assert status == 0, error
    assert "1009" in output
    assert "got 9" in output
    assert "2002" in output
    assert "got 2" in output


def test_quitting_the_debugger_ends_the_program(tmp_path: Path) -> None:
    output, error, status = run(tmp_path, SCRIPT.format(stop="breakpoint()"), typed="q\n")
    assert status != 0
    assert "got" not in output
    assert "BdbQuit" in error
    assert "TaskError" not in error


def test_one_can_step_from_a_breakpoint_of_pdb_into_a_task_and_out(tmp_path: Path) -> None:
    typed = "b 6\nc\nn\np result * 111\nc\nq\n"
    output, error, _ = run(tmp_path, SCRIPT.format(stop="pass"), "-m", "pdb", typed=typed)
    assert "999" in output, error
    assert "got 9" in output


def test_trace_sees_the_lines_of_tasks(tmp_path: Path) -> None:
    output, error, status = run(
        tmp_path,
        SCRIPT.format(stop="pass"),
        "-m",
        "trace",
        "--trace",
        "--ignore-module=flame_remote",
    )
    assert status == 0, error
    lines = [" ".join(line.split()) for line in output.splitlines()]
    assert any(line.endswith("script.py(6): result = x * x") for line in lines)
    assert any(line.endswith("script.py(13): total = n + 1") for line in lines)
    assert "got 9" in output


@pytest.mark.parametrize("where", ["sys", "threading"])
def test_a_tracer_as_coverage_tools_set_it_sees_the_lines_of_tasks(
    tmp_path: Path, where: str
) -> None:
    watcher = f"""
    import sys, threading

    seen = set()

    def trace(frame, event, argument):
        if frame.f_code.co_filename == __file__:
            seen.add((frame.f_code.co_name, event))
            return trace

    threading.settrace(trace)
    if {where!r} == "sys":
        sys.settrace(trace)
    """
    source = textwrap.dedent(watcher) + SCRIPT.format(stop="pass") + "print(sorted(seen))"
    output, error, status = run(tmp_path, source)
    assert status == 0, error
    assert "('add', 'line')" in output
    assert ("('square', 'line')" in output) is (where == "sys")
