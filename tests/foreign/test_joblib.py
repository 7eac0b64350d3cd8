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

joblib = pytest.importorskip("joblib", reason="joblib is not installed")
if importlib.util.find_spec("joblib.test") is None:
    pytest.skip("this joblib comes without its tests", allow_module_level=True)

import flame_remote as flame  # noqa: E402
import flame_remote.joblib  # noqa: E402


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


def test_no_more_jobs_run_at_a_time_than_were_asked_for(tmp_path: Path) -> None:
    def present(name: str) -> int:
        (tmp_path / name).touch()
        number = len(list(tmp_path.iterdir()))
        (tmp_path / name).unlink()
        return number

    calls = (joblib.delayed(present)(str(n)) for n in range(100))
    with flame.init(num_cpus=4), joblib.parallel_config(backend="flame"):
        numbers = joblib.Parallel(n_jobs=2, pre_dispatch="all", batch_size=1)(calls)
    assert set(numbers) <= {1, 2}
