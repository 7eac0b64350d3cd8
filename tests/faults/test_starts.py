"""Workers that cannot start: calls fail and say why, nothing hangs, and all is well afterwards."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

import flame_remote as flame

from .helpers import descendants, require_alive, square

# Runs at the start of the engine's own processes, not in this one.
SABOTAGE = """\
import os, sys

flag = {flag!r}

def in_worker():
    if os.path.exists(flag):
        {worker}

if os.path.exists(flag):
    {spawner}
os.register_at_fork(after_in_child=in_worker)
"""


@pytest.fixture
def sabotage(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Path:
    """Make the start of workers, or that of the spawner, fail as long as a file is there."""
    flag = tmp_path / "flag"
    flag.touch()
    text = SABOTAGE.format(flag=str(flag), **{"worker": "pass", "spawner": "pass", **request.param})
    (tmp_path / "sitecustomize.py").write_text(text)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    return flag


WAYS = [
    ({"worker": "os._exit(7)"}, "exited with code 7"),
    ({"worker": "import faulthandler; faulthandler.enable = None"}, "TypeError"),
    ({"worker": "os.write(2, b'no licence'); os._exit(7)"}, "no licence"),
    ({"worker": "import ctypes; ctypes.string_at(0)"}, "SIGSEGV"),
    ({"spawner": "os._exit(7)"}, "exited with code 7"),
    ({"spawner": "sys.modules['mmap'] = None"}, "import of mmap halted"),
    ({"spawner": "os.write(2, b'no licence'); os._exit(7)"}, "no licence"),
]


@pytest.mark.parametrize(("sabotage", "told"), WAYS, indirect=["sabotage"])
def test_calls_fail_while_workers_cannot_start_and_work_when_they_can(
    sabotage: Path, told: str
) -> None:
    with flame.init(engine="embedded", num_cpus=2):
        for ref in [square.remote(n) for n in range(5)]:
            with pytest.raises(flame.WorkerStartError, match="cannot be started") as caught:
                flame.get(ref)
            assert told in str(caught.value)
        sabotage.unlink()
        require_alive()
    assert descendants(os.getpid()) == []


@pytest.mark.parametrize("sabotage", [{"worker": "os._exit(7)"}], indirect=True)
def test_an_actor_whose_worker_cannot_start_fails(sabotage: Path) -> None:
    @flame.remote
    class Late:
        def work(self) -> int:
            return 1

    with flame.init(engine="embedded", num_cpus=2):
        late = Late.remote()
        with pytest.raises((flame.WorkerStartError, flame.ActorDiedError)):
            flame.get(late.work.remote())
        sabotage.unlink()
        assert flame.get(Late.remote().work.remote()) == 1


def test_an_interpreter_that_is_not_there_is_an_error_of_the_start(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(sys, "executable", "/nowhere/python")
        with pytest.raises(flame.WorkerStartError, match="/nowhere/python"):
            flame.init(engine="embedded", num_cpus=2)
    assert not flame.is_initialized()
    with flame.init(engine="embedded", num_cpus=2):
        require_alive()


def test_a_working_folder_that_is_gone_is_no_obstacle(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    monkeypatch.chdir(folder)
    folder.rmdir()
    with flame.init(engine="embedded", num_cpus=2):
        require_alive()
