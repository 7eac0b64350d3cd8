"""An environment of its own with stock flamepy, as its users have it: made once, kept by pytest."""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Final

import pytest

# numpy is not among flamepy's requirements, but tensors are among its formats.
REQUIREMENTS: Final = ["flamepy==0.6.0", "numpy"]
FIXTURE: Final = "flamepy_python"
INSTALL_SECONDS: Final = 600
# An interpreter that has flamepy, for machines where it cannot be installed from PyPI.
VARIABLE: Final = "FLAMEPY_PYTHON"

_UNREACHABLE: Final = re.compile(
    "connection|timed? ?out|name resolution|unreachable|dns error|proxy", re.IGNORECASE
)


_VERSION: Final = "{}.{}".format(*sys.version_info[:2])
# Where pytest keeps what plugins cache, which git ignores; `pytest --cache-clear` clears it.
_HOME: Final = Path(__file__).parent.parent / f".pytest_cache/d/flamepy-0.6.0-python{_VERSION}"


def pytest_collection_modifyitems(items: Iterable[pytest.Item]) -> None:
    """Give the tests that use the environment the time to make it, where it is not there yet."""
    if VARIABLE in os.environ or (_HOME / "complete").exists():
        return
    for item in items:
        if FIXTURE in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.timeout(INSTALL_SECONDS + 60))


@pytest.fixture(scope="session")
def flamepy_python() -> Path:
    """Return the interpreter of an environment in which stock flamepy 0.6.0 is installed.

    It is made by the first session that needs it, which takes a minute. Skips the test where the
    package index cannot be reached.
    """
    if VARIABLE in os.environ:
        return Path(os.environ[VARIABLE])
    python = _HOME / "venv" / "bin" / "python"
    _HOME.mkdir(parents=True, exist_ok=True)
    with (_HOME / "lock").open("w") as lock:  # one session at a time makes it
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not ((_HOME / "complete").exists() and os.access(python, os.X_OK)):
            _install(_HOME, python)
            (_HOME / "complete").touch()
    return python


def _install(home: Path, python: Path) -> None:
    shutil.rmtree(home / "venv", ignore_errors=True)
    # Without pip: Debian's Python cannot put it in, and the one that is here can install into it.
    make = [sys.executable, "-m", "venv", "--without-pip", str(home / "venv")]
    subprocess.run(make, check=True, capture_output=True, timeout=60)
    if shutil.which("uv"):
        command = ["uv", "pip", "install", "--python", str(python), *REQUIREMENTS]
    else:
        pip = [sys.executable, "-m", "pip", "--python", str(python), "install"]
        command = [*pip, "--disable-pip-version-check", "--retries", "1", *REQUIREMENTS]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=INSTALL_SECONDS)
    except subprocess.TimeoutExpired:
        pytest.skip(f"flamepy could not be installed from PyPI in {INSTALL_SECONDS} s")
    if done.returncode:
        output = done.stdout + done.stderr
        if _UNREACHABLE.search(output):
            pytest.skip(f"flamepy could not be installed, PyPI is not reached: {output[-300:]}")
        pytest.fail(f"{' '.join(command)}:\n{output[-3000:]}")
