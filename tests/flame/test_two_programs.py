"""Two programs on one cluster, each with functions, actors, values, a Runner: one is killed."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import psutil
import pytest

from flame_remote.core.applications import list_applications
from flame_remote.core.connection import Connection
from flame_remote.core.context import FlameContext
from flame_remote.core.nodes import list_executors
from flame_remote.core.objects import count_objects
from flame_remote.core.sessions import SessionState, list_sessions

from ..clusters import Cluster
from ..conftest import wait_until

# Tells its applications and the pids of its workers; then answers each line with a call of each.
PROGRAM = """
import os, sys, json
import flame_remote as flame
from flame_remote import _current
from flame_remote.runner import Runner

class Counter:
    def __init__(self): self.count = 0
    def pid(self): return os.getpid()
    def add(self): self.count += 1; return self.count

def pid(): return os.getpid()

flame.init(sys.argv[1])
runner = Runner(sys.argv[2])
kept = [flame.put(bytes(1_000_000)), runner.put_object(bytes(1_000_000))]
function, actor = flame.remote(pid), flame.remote(Counter).remote()
service, instance = runner.service(pid), runner.service(Counter(), stateful=True)
refs = [function.remote(), actor.pid.remote(), service(), instance.pid()]
program = _current.engine.program
names = [program.application, program.actors, sys.argv[2]]
print(json.dumps([names, flame.get(refs)]), flush=True)
for line in sys.stdin:
    refs = [actor.add.remote(), instance.add(), function.remote(), service()]
    print(json.dumps([flame.get(refs), len(flame.get(kept[0]))]), flush=True)
"""


class Program:
    """A process with sessions, workers and keys on the cluster."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.names, pids = self.read()
        self.workers = [psutil.Process(pid) for pid in pids]

    def read(self) -> list[list[int]]:
        """Return what it tells next."""
        import json

        assert self.process.stdout is not None
        told: list[list[int]] = json.loads(self.process.stdout.readline())
        return told

    def call(self) -> tuple[list[int], list[int]]:
        """Have it call everything; return what its instances count, and the pids of the rest."""
        assert self.process.stdin is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        results, size = self.read()
        assert size == 1_000_000
        return results[:2], results[2:]


@contextmanager
def program(cluster: Cluster, name: str, folder: Path) -> Iterator[Program]:
    """Run a program until the block ends."""
    folder.mkdir()
    (folder / "module.py").touch()
    root = str(Path(__file__).parents[2])
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM, cluster.engine, name],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, **cluster.environment, "PYTHONPATH": root},
        cwd=folder,
        text=True,
    ) as process:
        yield Program(process)


def test_one_of_two_programs_is_killed_all_of_it_goes_and_the_other_is_untouched(
    flame_cluster: Cluster, tmp_path: Path
) -> None:
    if not flame_cluster.folder.name:
        pytest.skip("a real Flame leaves what a program had to the next one")
    context = FlameContext.load(flame_cluster.endpoint, flame_cluster.cache_endpoint)
    connection = Connection(context)

    def sessions_of(program: Program) -> set[str]:
        found = list_sessions(connection=connection)
        return {
            session.id
            for session in found
            if session.application in program.names and session.state is SessionState.OPEN
        }

    def keys_of(program: Program) -> int:
        return sum(count_objects(f"{name}/*", context=context).keys for name in program.names)

    with ExitStack() as stack:
        stack.callback(connection.close)
        killed = stack.enter_context(program(flame_cluster, "killed", tmp_path / "a"))
        other = stack.enter_context(program(flame_cluster, "other", tmp_path / "b"))
        before = sessions_of(other), keys_of(other), other.call()
        assert len(sessions_of(killed)) == len(killed.workers) == 4
        assert keys_of(killed) >= 2
        killed.process.kill()
        assert wait_until(lambda: not sessions_of(killed))
        assert wait_until(lambda: not any(worker.is_running() for worker in killed.workers))
        assert wait_until(lambda: keys_of(killed) == 0)
        left = {application.name for application in list_applications(connection=connection)}
        assert not left & {*killed.names}
        executors = {executor.session_id for executor in list_executors(connection=connection)}
        assert executors >= sessions_of(other)
        assert (sessions_of(other), keys_of(other)) == before[:2]
        assert other.call() == ([2, 2], before[2][1])
        assert all(worker.is_running() for worker in other.workers)
