"""The driver's side of the spawner: starts it, asks it for workers, hears of their ends."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import select
import signal
import socket
import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import astuple
from typing import Any, Final

from flame_remote._environment import Environment
from flame_remote._ids import WorkerId
from flame_remote.exceptions import WorkerStartError

from ._linux import pidfd_open
from .limits import explain
from .output_pipe import OutputPipe

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
        try:
            self._start()
        except OSError as error:
            raise WorkerStartError(explain(error)) from error
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

    def start_worker(
        self,
        worker_id: WorkerId,
        word: int,
        descriptors: list[int],
        environment: Environment | None = None,
        gpus: Sequence[str] = (),
    ) -> None:
        """Ask for a worker on these ends of its connections, which the caller closes.

        `word` is its word of Progress; `gpus` are the names of those that it is to see, none for
        those of the driver. Raises OSError if the descriptors cannot be sent.
        """
        if sys.path != self._path:
            self._path = list(sys.path)
            self._request({"do": "path", "path": self._path, "cwd": _working_folder()}, [])
        around = None if environment is None else astuple(environment)
        what = {"worker": worker_id, "word": word, "environment": around, "gpus": list(gpus)}
        self._request({"do": "start", **what}, descriptors)

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

    def close(self, grace_seconds: float) -> int | None:
        """End the spawner and all below it; wait until it has. Kills it if it does not obey.

        Return its status as of os.waitpid, None if another has waited for it. Its `errors` are left
        open, as what it has written last may not have been read.
        """
        with suppress(OSError):
            self.connection.shutdown(socket.SHUT_WR)
        poll = select.poll()  # unlike select() it takes descriptors above 1023
        poll.register(self._process, select.POLLIN)
        if not poll.poll(grace_seconds * 1000):
            with suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)  # its workers die with it
        os.close(self._process)
        self.connection.close()
        try:
            _, status = os.waitpid(self.pid, 0)
        except ChildProcessError:
            return None
        return status

    def _start(self) -> None:
        with ExitStack() as undo, ExitStack() as theirs:
            ours, their_socket = socket.socketpair()
            undo.callback(ours.close)
            theirs.callback(their_socket.close)
            errors, their_errors = os.pipe2(os.O_CLOEXEC)
            undo.callback(os.close, errors)
            theirs.callback(os.close, their_errors)
            # Out of the way of the numbers that they get in the new process.
            high_socket = _duplicate_above(3, their_socket.fileno(), theirs)
            high_errors = _duplicate_above(3, their_errors, theirs)
            self.pid = _spawn(high_socket, high_errors)
            undo.callback(_end_child, self.pid)
            self._process = pidfd_open(self.pid)
            undo.pop_all()
        self.connection = ours
        self.errors = OutputPipe(errors, is_error=True)

    def _request(self, request: dict[str, Any], descriptors: list[int]) -> None:
        """Send a request. Raises OSError if descriptors cannot be sent."""
        line = json.dumps({**request, "fds": len(descriptors)}).encode() + b"\n"
        # Gone: its end is noticed where its answers are read.
        with suppress(BrokenPipeError, ConnectionResetError):
            if descriptors:
                socket.send_fds(self.connection, [line], descriptors)
            else:
                self.connection.sendall(line)


def _duplicate_above(number: int, descriptor: int, closing: ExitStack) -> int:
    duplicate = fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, number + 1)
    closing.callback(os.close, duplicate)
    return duplicate


def _end_child(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)


def _spawn(connection: int, errors: int) -> int:
    """Start the interpreter on spawner.main, with these as 3 and 2; return its pid."""
    if not sys.executable:
        raise FileNotFoundError(errno.ENOENT, "sys.executable, the Python to start, is not set")
    folder = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    code = (
        f"import sys; sys.path.insert(0, {folder!r}); "
        f"from flame_remote._local.spawner import main; main(3, {os.getpid()})"
    )
    flags = _interpreter_flags()
    try:
        return os.posix_spawn(
            sys.executable,
            [sys.executable, *flags, "-c", code],
            os.environ,
            file_actions=[
                (os.POSIX_SPAWN_DUP2, connection, 3),
                (os.POSIX_SPAWN_DUP2, errors, 2),
            ],
            setsid=True,
            setsigmask=[],
        )
    except OSError as error:
        raise OSError(error.errno, f"{error.strerror} ({sys.executable})") from error


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
