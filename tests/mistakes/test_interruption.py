"""Ctrl-C, and tasks whose process dies."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from .conftest import PACKAGE, Runner, environment, lines_of


def test_ctrl_c_while_a_task_runs(engine: str, tmp_path: Path) -> None:
    started, going = tmp_path / "started", tmp_path / "going"
    os.mkfifo(started)
    os.mkfifo(going)
    file = tmp_path / "script.py"
    file.write_text(
        textwrap.dedent(
            f"""
            import os
            import flame_remote as flame

            @flame.remote
            def hold():
                os.open({str(started)!r}, os.O_WRONLY)
                os.open({str(going)!r}, os.O_RDONLY)

            flame.get(hold.remote())
            """
        )
    )
    script = subprocess.Popen(
        [sys.executable, str(file)],
        cwd=tmp_path,
        env=environment(engine),
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    with open(started):  # until the task has opened it
        pass
    os.killpg(script.pid, signal.SIGINT)
    _, error = script.communicate(timeout=50)
    told = lines_of(error)
    assert script.returncode == -signal.SIGINT
    assert told[-1] == "KeyboardInterrupt"
    assert len(told) <= 12, error
    assert len([line for line in told if PACKAGE in line]) <= 3, error
    with pytest.raises(ProcessLookupError):
        os.killpg(script.pid, 0)  # nobody of the script's is left


@pytest.mark.parametrize("engine", ["embedded"], indirect=True)
@pytest.mark.parametrize(
    ("how", "told"),
    [
        ("os._exit(7)", "exited with code 7"),
        ("os.kill(os.getpid(), signal.SIGKILL)", "was killed by signal 9 (SIGKILL)"),
        ("ctypes.string_at(0)", "was killed by signal 11 (SIGSEGV)"),
    ],
)
def test_a_task_whose_process_dies(script: Runner, how: str, told: str) -> None:
    printed = script(
        f"""
        import ctypes, os, signal

        @flame.remote(max_retries=0)
        def crash():
            {how}

        @flame.remote
        def fine():
            return "fine"

        ref = crash.remote()
        print(flame.get(fine.remote()))
        flame.get(ref)
        """
    )
    assert printed.output == "fine\n"
    printed.check_told(
        "flame_remote.exceptions.WorkerCrashedError",
        f"the process running crash() {told}",
        "1 attempt",
        lines=20,
    )


@pytest.mark.parametrize("engine", ["embedded"], indirect=True)
def test_an_actor_whose_process_dies(script: Runner) -> None:
    printed = script(
        """
        import os

        @flame.remote
        class Counter:
            def add(self):
                return 1

            def die(self):
                os._exit(3)

        counter = Counter.remote()
        print(flame.get(counter.add.remote()))
        print(type(counter.die.remote().exception()).__name__)
        flame.get(counter.add.remote())
        """
    )
    assert printed.output == "1\nActorDiedError\n"
    printed.check_told(
        "flame_remote.exceptions.ActorDiedError", "actor Counter is dead", "code 3", lines=14
    )
