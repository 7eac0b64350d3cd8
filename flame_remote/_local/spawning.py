"""The driver's side of the spawner: starts it, asks it for workers, hears of their ends."""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import sys
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, Final

from flame_remote._ids import WorkerId
from flame_remote.exceptions import WorkerStartError

# Libraries that start as many threads as there are CPUs, in every worker. Only in workers, and
# only where the user has not said otherwise.
_THREAD_VARIABLES: Final = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "NUMBA_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "BLIS_NUM_THREADS",
)


class SpawnerHandle:
    """A running spawner. Used inside a turn only; `connection` may be polled."""

    def __init__(self) -> None:
        """Start the process; returns long before it is ready. Raises WorkerStartError."""
        self.connection, theirs = socket.socketpair()
        try:
            with theirs:
                self.pid = _spawn(theirs.fileno())
        except OSError as error:
            self.connection.close()
            reason = f"{error.strerror} ({sys.executable or 'sys.executable is not set'})"
            raise WorkerStartError(reason) from error
        self._partial = b""
        self._path: list[str] = []

    def configure(
        self, session: str, resources: Mapping[str, float], threads: int, progress: int
    ) -> None:
        """Tell it what it needs to know before it starts workers.

        `threads` is how many threads numerical libraries may start in each worker, `progress` the
        descriptor of Progress.
        """
        self._path = list(sys.path)
        self._request(
            {
                "do": "configure",
                "session": session,
                "resources": dict(resources),
                "environment": dict.fromkeys(_THREAD_VARIABLES, str(threads)),
                "path": self._path,
                "cwd": _working_folder(),
            },
            [progress],
        )

    def start_worker(self, worker_id: WorkerId, descriptors: list[int]) -> None:
        """Ask for a worker on these ends of its connections, which the caller closes."""
        if sys.path != self._path:
            self._path = list(sys.path)
            self._request({"do": "path", "path": self._path, "cwd": _working_folder()}, [])
        self._request({"do": "start", "worker": worker_id}, descriptors)

    def kill_worker(self, worker_id: WorkerId) -> None:
        """Ask for a worker's end by SIGKILL."""
        self._request({"do": "kill", "worker": worker_id}, [])

    def end(self, idle: list[WorkerId]) -> None:
        """Announce the end: these workers were told to end by themselves, all others are killed."""
        self._request({"do": "end", "idle": idle}, [])

    def receive(self) -> list[dict[str, Any]] | None:
        """Return what the spawner has answered; None if it is gone. Never blocks."""
        try:
            data = self.connection.recv(65536, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return []
        except ConnectionError:
            data = b""
        if not data:
            return None
        *lines, self._partial = (self._partial + data).split(b"\n")
        return [json.loads(line) for line in lines]

    def close(self, grace_seconds: float) -> None:
        """End the spawner and all below it; wait until it has. Kills it if it does not obey."""
        with suppress(OSError):
            self.connection.shutdown(socket.SHUT_WR)
        descriptor = None
        with suppress(OSError):
            descriptor = os.pidfd_open(self.pid)
        if descriptor is not None:
            ready, _, _ = select.select([descriptor], [], [], grace_seconds)
            if not ready:
                os.kill(self.pid, signal.SIGKILL)  # its workers die with it
            os.close(descriptor)
        with suppress(ChildProcessError):
            os.waitpid(self.pid, 0)
        self.connection.close()

    def _request(self, request: dict[str, Any], descriptors: list[int]) -> None:
        line = json.dumps({**request, "fds": len(descriptors)}).encode() + b"\n"
        with suppress(OSError):  # gone: its end is noticed where its answers are read
            if descriptors:
                socket.send_fds(self.connection, [line], descriptors)
            else:
                self.connection.sendall(line)


def _spawn(descriptor: int) -> int:
    """Start the interpreter on spawner.main; return its pid."""
    folder = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    code = (
        f"import sys; sys.path.insert(0, {folder!r}); "
        f"from flame_remote._local.spawner import main; main(3, {os.getpid()})"
    )
    flags = _interpreter_flags()
    return os.posix_spawn(
        sys.executable,
        [sys.executable, *flags, "-c", code],
        os.environ,
        file_actions=[(os.POSIX_SPAWN_DUP2, descriptor, 3)],
        setsid=True,
        setsigmask=[],
    )


def _working_folder() -> str:
    try:
        return os.getcwd()
    except OSError:
        return ""


def _interpreter_flags() -> list[str]:
    """Return the options of this interpreter that change what user code sees."""
    flags = []
    if sys.flags.optimize:
        flags.append("-" + "O" * sys.flags.optimize)
    if sys.flags.dont_write_bytecode:
        flags.append("-B")
    if sys.flags.no_user_site:
        flags.append("-s")
    if sys.flags.isolated:
        flags.append("-I")
    if sys.flags.utf8_mode:
        flags += ["-X", "utf8"]
    for option in sys.warnoptions:
        flags.append(f"-W{option}")
    return flags
