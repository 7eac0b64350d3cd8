"""The package as workers get it."""

from __future__ import annotations

import io
import subprocess
import sys
import zipfile
from pathlib import Path

from flame_remote._flame import bundle


def test_the_same_files_make_the_same_archive() -> None:
    first = bundle.archive()
    bundle.archive.cache_clear()
    assert bundle.archive() == first


def test_it_is_small_and_holds_what_workers_need_and_nothing_else() -> None:
    _, data = bundle.archive()
    assert len(data) < 600_000
    with zipfile.ZipFile(io.BytesIO(data)) as package:
        names = set(package.namelist())
    parts = {name.split("/")[2] for name in names if name.startswith("package/")}
    assert "_flame" in parts
    assert parts.isdisjoint({"_local", "_server", "_cli", "testing.py"})
    assert all(name.endswith(".py") for name in names)


def test_a_python_that_lacks_the_package_can_use_it(tmp_path: Path) -> None:
    _, data = bundle.archive()
    with zipfile.ZipFile(io.BytesIO(data)) as package:
        package.extractall(tmp_path)
    program = (
        "import flame_remote, flame_remote.runner, flame_remote._flame.worker as w;"
        "print(w.__file__)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={"PYTHONPATH": str(tmp_path / "package")},
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.stdout.startswith(str(tmp_path)), done.stderr
