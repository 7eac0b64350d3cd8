"""Programs written for Ray run through flame_remote.compat.ray, as they are.

Each also runs under Ray itself: `python tests/compat/programs/quickstart.py`. At its end stands
what it prints.
"""

from __future__ import annotations

import runpy
import sys
from pathlib import Path
from typing import Final

import pytest

import flame_remote as flame
import flame_remote.compat.ray as ray
import flame_remote.compat.ray.util.multiprocessing

PROGRAMS: Final = sorted((Path(__file__).parent / "programs").glob("*.py"))
# What waits for another call that has not ended, or ends a process, cannot run in one thread.
NOT_INLINE: Final = {"async_actor", "cancelling", "crashes", "monte_carlo", "queues_and_pools"}
RUNS: Final = [
    pytest.param(program, engine, id=f"{engine}-{program.stem}")
    for program in PROGRAMS
    for engine in ("inline", "embedded")
    if engine == "embedded" or program.stem not in NOT_INLINE
]


@pytest.fixture(autouse=True)
def known_as_ray(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let `import ray` find the names over flame."""
    prefix = ray.__name__
    for name, module in list(sys.modules.items()):
        if name == prefix or name.startswith(f"{prefix}."):
            monkeypatch.setitem(sys.modules, f"ray{name.removeprefix(prefix)}", module)


def expected_of(program: Path) -> str:
    """Return what a program says that it prints."""
    lines = program.read_text().partition("# prints:\n")[2].splitlines()
    return "".join(f"{line.removeprefix('# ')}\n" for line in lines)


@pytest.mark.parametrize(("program", "engine"), RUNS)
def test_a_program_written_for_ray_prints_what_it_prints_there(
    program: Path,
    engine: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("FLAME_ENGINE", engine)
    monkeypatch.setenv("FLAME_NUM_CPUS", "2")
    try:
        runpy.run_path(str(program), run_name="__main__")
        assert capsys.readouterr().out == expected_of(program)
    finally:
        flame.shutdown()
