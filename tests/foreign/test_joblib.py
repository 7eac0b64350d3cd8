"""joblib's own tests of `joblib.Parallel`, as installed, through the backend "flame"."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

HERE: Final = Path(__file__).resolve().parent
ROOT: Final = HERE.parent.parent
LEAST_PASSED: Final = 100  # else something is wrong with the collection

if importlib.util.find_spec("joblib") is None:
    pytest.skip("joblib is not installed", allow_module_level=True)
if importlib.util.find_spec("joblib.test") is None:
    pytest.skip("this joblib comes without its tests", allow_module_level=True)


def test_joblibs_own_tests_pass_through_the_backend(tmp_path: Path) -> None:
    python_path = os.pathsep.join([str(ROOT), str(HERE), *filter(None, [os.getenv("PYTHONPATH")])])
    command = [sys.executable, "-m", "pytest", "-p", "joblib_plugin", "-p", "no:cacheprovider"]
    ended = subprocess.run(
        [*command, "-q", "--tb=short", "--pyargs", "joblib.test.test_parallel"],
        cwd=tmp_path,  # no configuration of ours
        env={**os.environ, "PYTHONPATH": python_path, "FLAME_NUM_CPUS": "2"},
        capture_output=True,
        text=True,
    )
    assert ended.returncode == 0, ended.stdout[-20_000:] + ended.stderr
    passed = re.search(r"(\d+) passed", ended.stdout)
    assert passed is not None
    assert int(passed[1]) >= LEAST_PASSED
