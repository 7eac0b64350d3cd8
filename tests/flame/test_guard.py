"""Somebody answers for a worker that has died, as its cluster keeps asking."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import grpc

from flame_remote._flame import guard
from flame_remote._proto import types_pb2

# A worker of a cluster, with a guard; tells the guard's pid, and dies when it is told to.
WORKER = """
import os, sys
from flame_remote._flame import guard
print(guard.begin(os.environ).pid, flush=True)
sys.stdin.read()
os._exit(3)
"""


def test_a_dead_worker_leaves_its_session_and_its_guard_ends(tmp_path: Path) -> None:
    socket = tmp_path / "instance.sock"
    environment = {
        **{name: text for name, text in os.environ.items() if name != guard.REPLACES},
        guard.ENDPOINT: str(socket),
        "PYTHONPATH": str(Path(__file__).parents[2]),
    }
    with subprocess.Popen(
        [sys.executable, "-c", WORKER],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=environment,
    ) as worker:
        assert worker.stdout is not None
        descriptor = os.pidfd_open(int(worker.stdout.readline()))
        assert not socket.exists()
        worker.communicate()
    with grpc.insecure_channel(f"unix:{socket}") as channel, open(descriptor, "rb") as ended:

        def call(method: str) -> bytes:
            ask = channel.unary_unary(f"/flame.v1.Instance/{method}")
            answer: bytes = ask(b"", timeout=20, wait_for_ready=True)
            return answer

        failed = types_pb2.TaskResult.FromString(call("OnTaskInvoke"))
        assert (failed.return_code, failed.message) == (
            -1,
            "the process of this instance has died",
        )
        assert types_pb2.Result.FromString(call("OnSessionLeave")).return_code == 0
        import select

        assert select.select([ended], [], [], 20)[0]


def test_a_cluster_that_replaces_dead_workers_needs_no_guard(tmp_path: Path) -> None:
    assert guard.begin({}) is None
    assert guard.begin({guard.ENDPOINT: str(tmp_path / "socket"), guard.REPLACES: "1"}) is None
