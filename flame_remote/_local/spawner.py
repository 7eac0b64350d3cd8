"""The spawner: a small process that forks workers, and sees them off.

Run by the driver as a process of its own, with one thread and nothing of the user's in it, so that
forking is cheap and safe. Requests come as JSON lines on a socket, with descriptors; answers go the
same way. When the driver is gone, or says so, nothing of it is left: workers, their children, and
the children that those disowned.

Protocol in docs/formats.md.
"""

from __future__ import annotations

import gc
import json
import mmap
import os
import select
import signal
import socket
import sys
import time
from contextlib import suppress
from typing import Any, Final

from ._linux import become_subreaper, die_with_parent, pidfd_open
from .limits import explain, out_of_files
from .progress import PROGRESS_BYTES

ERRORS: Final = 3  # the place of its standard error among a worker's descriptors
_GRACE_SECONDS: Final = 0.5  # for idle workers to run their exit hooks
MARKER: Final = "FLAME_REMOTE_WORKER"  # in the environment of what a worker starts


class Spawner:
    """Forks and reaps. Single-threaded; blocks only in poll."""

    def __init__(self, connection: socket.socket, driver_pid: int) -> None:
        self._connection = connection
        self._driver = pidfd_open(driver_pid)
        self._workers: dict[int, int] = {}  # pid -> worker id
        self._partial = b""
        self._descriptors: list[int] = []  # of the request whose end is still to come
        self._progress: mmap.mmap | None = None
        self._config: dict[str, Any] = {}
        self._idle: set[int] = set()  # workers that were told to end by themselves
        read, write = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self._children_ended = read
        self._wakeup = write

    def run(self) -> None:
        """Serve until the driver is gone."""
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(self._wakeup, warn_on_full_buffer=False)
        poll = select.poll()
        for descriptor in (self._connection.fileno(), self._driver, self._children_ended):
            poll.register(descriptor, select.POLLIN)
        while True:
            ready = {descriptor for descriptor, _ in poll.poll()}
            if self._children_ended in ready:
                os.read(self._children_ended, 4096)
                self._reap()
            if self._connection.fileno() in ready and not self._take_requests():
                return
            if self._driver in ready:
                return

    def end_all(self) -> None:
        """End every worker, and every process that descends from one."""
        for pid, worker_id in self._workers.items():
            if worker_id not in self._idle:
                _kill(pid)
        deadline = time.monotonic() + _GRACE_SECONDS
        while self._workers and time.monotonic() < deadline:
            self._reap(wait_seconds=deadline - time.monotonic())
        # Killing a process hands its children to us, the subreaper; so again, until none is left.
        while pids := _children_of(os.getpid()):
            for pid in pids:
                _kill(pid)
            self._reap(wait_seconds=0.05)

    # --- requests -----------------------------------------------------------------------

    def _take_requests(self) -> bool:
        try:
            data, descriptors, _, _ = socket.recv_fds(self._connection, 65536, 16)
        except ConnectionError:
            return False
        if not data:
            return False
        self._partial += data
        self._descriptors += descriptors
        *lines, self._partial = self._partial.split(b"\n")
        for line in lines:
            request = json.loads(line)
            number = request["fds"]
            taken, self._descriptors = self._descriptors[:number], self._descriptors[number:]
            self._handle(request, taken)
        return True

    def _handle(self, request: dict[str, Any], descriptors: list[int]) -> None:
        match request["do"]:
            case "configure":
                self._config = request
                for variable, value in request["environment"].items():
                    os.environ.setdefault(variable, value)  # what the user has set stays
                self._progress = mmap.mmap(descriptors[0], PROGRESS_BYTES)
                os.close(descriptors[0])
            case "start" if len(descriptors) < request["fds"]:
                self._refuse(request["worker"], out_of_files())
            case "start":
                self._start(request, descriptors)
            case "kill":
                for pid, worker_id in self._workers.items():
                    if worker_id == request["worker"]:
                        _kill(pid)
            case "end":
                self._idle = set(request["idle"])
            case "path":
                self._config["path"] = request["path"]
                self._config["cwd"] = request["cwd"]

    def _start(self, request: dict[str, Any], descriptors: list[int]) -> None:
        worker_id = request["worker"]
        me = os.getpid()
        try:
            pid = os.fork()
        except OSError as error:
            self._refuse(worker_id, error)
            pid = -1
        if not pid:
            self._become_worker(request, descriptors, me)
        for descriptor in descriptors:
            os.close(descriptor)
        if pid > 0:
            self._workers[pid] = worker_id
            self._answer({"is": "started", "worker": worker_id, "pid": pid})

    def _refuse(self, worker_id: int, error: OSError) -> None:
        why = f"could not be started: {explain(error)}"
        self._answer({"is": "ended", "worker": worker_id, "status": None, "why": why})

    def _become_worker(
        self, request: dict[str, Any], descriptors: list[int], spawner_pid: int
    ) -> None:
        """Never returns."""
        status = 1
        try:
            os.dup2(descriptors[ERRORS], 2)  # what goes wrong from here on is the worker's own
            die_with_parent(spawner_pid)
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            self._connection.close()
            for descriptor in (self._driver, self._children_ended, self._wakeup):
                os.close(descriptor)
            assert self._progress is not None
            from .start import start_worker

            status = start_worker(request, descriptors, self._progress, self._config)
        except BaseException:
            import traceback

            traceback.print_exc()
        finally:
            os._exit(status)

    # --- the end of children ------------------------------------------------------------

    def _reap(self, wait_seconds: float = 0.0) -> None:
        if wait_seconds > 0:
            select.select([self._children_ended], [], [], wait_seconds)
        lost_worker = False
        while True:
            try:
                pid, status, usage = os.wait4(-1, os.WNOHANG | os.WUNTRACED)
            except ChildProcessError:
                break
            if not pid:
                break
            if os.WIFSTOPPED(status):
                if pid in self._workers:
                    stopped = {"is": "stopped", "worker": self._workers[pid]}
                    self._answer({**stopped, "signal": os.WSTOPSIG(status)})
                continue
            worker_id = self._workers.pop(pid, None)
            if worker_id is not None:
                lost_worker = True
                self._answer(
                    {
                        "is": "ended",
                        "worker": worker_id,
                        "status": status,
                        "peak_bytes": usage.ru_maxrss * 1024,
                    }
                )
        if lost_worker:
            self._end_orphans()

    def _end_orphans(self) -> None:
        """End what a lost worker has left behind: children that are now ours, and no worker's."""
        living = {str(worker_id) for worker_id in self._workers.values()}
        for pid in _children_of(os.getpid()):
            if pid not in self._workers and _worker_in_environment(pid) not in living:
                _kill(pid)

    def _answer(self, answer: dict[str, Any]) -> None:
        with suppress(OSError):  # the driver is gone; the poll says so too
            self._connection.sendall(json.dumps(answer).encode() + b"\n")


def _children_of(pid: int) -> list[int]:
    try:
        with open(f"/proc/{pid}/task/{pid}/children") as file:
            return [int(word) for word in file.read().split()]
    except OSError:
        return []


def _worker_in_environment(pid: int) -> str:
    try:
        with open(f"/proc/{pid}/environ", "rb") as file:
            for entry in file.read().split(b"\0"):
                if entry.startswith(MARKER.encode() + b"="):
                    return entry.partition(b"=")[2].decode()
    except OSError:
        pass
    return ""


def _kill(pid: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def main(descriptor: int, driver_pid: int) -> None:
    """Run the spawner on an inherited socket. Called by the driver's command line."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    connection = socket.socket(fileno=descriptor)
    connection.set_inheritable(False)
    become_subreaper()
    spawner = Spawner(connection, driver_pid)
    # Workers inherit these by the fork, and share the memory.
    import cloudpickle  # noqa: F401

    from . import start  # noqa: F401

    gc.freeze()  # a worker's collector need not look at, and so copy, what all of them share
    spawner.run()
    spawner.end_all()
    sys.exit(0)
