"""Which process an application belongs to."""

from __future__ import annotations

import subprocess
import sys

from flame_remote._flame import owners


def labels_of(pid: int) -> list[str]:
    return [f"{owners.OWNER}{pid}:{owners._start_of(pid)}", f"{owners.HOST}{owners.host()}"]


def test_the_application_of_a_process_that_runs_is_no_orphan() -> None:
    assert not owners.is_orphan(owners.labels())


def test_the_application_of_a_process_that_is_gone_is_one() -> None:
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    labels = labels_of(process.pid)
    assert not owners.is_orphan(labels)
    process.communicate(b"\n")
    assert owners.is_orphan(labels)


def test_a_later_process_with_the_same_pid_is_another() -> None:
    own, host = owners.labels()
    assert owners.is_orphan([own + "0", host])


def test_of_processes_on_other_machines_nothing_is_known() -> None:
    own, _ = owners.labels()
    assert not owners.is_orphan([own + "0", f"{owners.HOST}elsewhere"])
    assert not owners.is_orphan([own + "0"])
    assert not owners.is_orphan([])
