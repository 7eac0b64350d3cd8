"""Answers in the place of a worker that has died, so that a stock Flame cluster lets go of it.

Flame's executor manager asks the instance to leave its session before it uses the executor for
another. It asks again and again where nobody listens, without end or pause; meanwhile the executor
counts as one that will soon be free, and sessions that want to start wait for it. So a process
stands beside each worker, and once that is gone it listens at its socket and agrees to everything.

Run as a script, so it imports nothing of ours. It is in the worker's process group, which the
executor manager ends.
"""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import threading
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, Final

ENDPOINT: Final = "FLAME_INSTANCE_ENDPOINT"
# Set by clusters that replace dead workers themselves, as the one of this package does.
REPLACES: Final = "FLAME_REPLACES_DEAD_WORKERS"

_PATIENCE_SECONDS: Final = 120.0  # for the executor manager to ask
REASON: Final = "the process of this instance has died"
# The bytes of Flame's messages: a Result whose return code is 0, a TaskResult with -1 and a reason.
_AGREED: Final = b""
_FAILED: Final = b"\x08" + b"\xff" * 9 + b"\x01" + b"\x1a" + bytes([len(REASON)]) + REASON.encode()


def begin(environment: Mapping[str, str]) -> subprocess.Popen[bytes] | None:
    """Start a guard for this process, if it is a worker of a cluster that needs that."""
    socket = environment.get(ENDPOINT)
    if not socket or environment.get(REPLACES) or not hasattr(os, "pidfd_open"):
        return None
    arguments = [str(os.getpid()), socket, json.dumps(sys.path)]
    try:
        return subprocess.Popen(
            [sys.executable, "-I", "-S", __file__, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
    except OSError:  # no process is to be had: as it was without
        return None


def main(arguments: list[str]) -> None:
    """Wait for the end of a process; then answer at its socket until it was asked to leave."""
    pid, socket, path = int(arguments[0]), arguments[1], json.loads(arguments[2])
    _wait_for_end(pid)
    sys.path[:] = path  # gRPC is where the worker had it
    _answer(socket)


def _wait_for_end(pid: int) -> None:
    with suppress(OSError):  # it has ended
        descriptor = os.pidfd_open(pid)
        if os.getppid() == pid:
            select.select([descriptor], [], [])


def _answer(socket: str) -> None:
    from concurrent.futures import ThreadPoolExecutor

    import grpc

    left = threading.Event()

    class Agree(grpc.GenericRpcHandler):
        def service(self, handler_call_details: Any) -> Any:
            method = handler_call_details.method.rpartition("/")[2]

            def answer(request: bytes, context: Any) -> bytes:
                if method == "OnSessionLeave":
                    context.add_callback(left.set)  # called when this answer is out
                return _FAILED if method == "OnTaskInvoke" else _AGREED

            return grpc.unary_unary_rpc_method_handler(answer)

    with suppress(FileNotFoundError):
        os.unlink(socket)
    server = grpc.server(ThreadPoolExecutor(1), handlers=[Agree()])
    server.add_insecure_port(f"unix:{socket}")
    server.start()
    left.wait(_PATIENCE_SECONDS)
    server.stop(1.0).wait()


if __name__ == "__main__":
    main(sys.argv[1:])
