"""The launcher that stands where Flame has uv."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from flame_remote._server.home import make_home, version_of


@pytest.fixture(scope="module")
def uv(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("home")
    make_home(folder, sys.executable)
    return folder / "bin" / "uv"


def run(uv: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([uv, *arguments], capture_output=True, text=True, timeout=30)


VERSION = "{}.{}".format(*sys.version_info[:2])


@pytest.mark.parametrize("python", [f"python{VERSION}", VERSION, "python3", "python${V}"])
def test_it_runs_the_interpreter_of_the_cluster(uv: Path, python: str) -> None:
    code = "import sys; print(sys.executable, *sys.argv[1:])"
    done = run(uv, "run", "--python", python, "python", "-c", code, "a b", "$c")
    assert done.stdout == f"{sys.executable} a b $c\n"


def test_it_runs_modules_with_the_working_folder_first_on_the_path(
    uv: Path, tmp_path: Path
) -> None:
    (tmp_path / "mine.py").write_text("import sys; print(__name__, sys.path[0], *sys.argv[1:])")
    done = subprocess.run(
        [uv, "run", "python", "-m", "mine", "x"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert done.stdout == f"__main__ {tmp_path} x\n"


def test_a_version_that_is_not_there_is_refused_with_both_versions(uv: Path) -> None:
    done = run(uv, "run", "--python", "python2.3", "python", "-c", "")
    assert done.returncode == 2
    assert "wants python2.3" in done.stderr
    assert f"Python {VERSION}" in done.stderr


def test_anything_but_run_is_refused(uv: Path) -> None:
    assert run(uv, "pip", "install", "x").returncode == 2


def test_an_interpreter_that_fails_is_told() -> None:
    with pytest.raises(RuntimeError, match="/bin/false does not run"):
        version_of("/bin/false")
