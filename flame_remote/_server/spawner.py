"""The spawner: a small process that starts instances, and sees them off.

Run by the session manager as a process of its own, with one thread, so that forking is cheap and
safe whatever threads gRPC has. Requests come as JSON lines on a socket, answers go the same way.
When the session manager is gone nothing is left of it: instances, their children, and the children
that those disowned.

Requests: {"do": "start", "id", "argv", "env", "cwd", "out", "err"}, {"do": "signal", "id",
"signal"}, {"do": "remove", "path"} for a folder that goes at the end. Answers: {"is": "started",
"id", "pid"}, {"is": "failed", "id", "reason"}, {"is": "ended", "id", "status", "peak_bytes"}.
Exactly one of failed and ended comes for each start.
"""

from __future__ import annotations

import json
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final

from flame_remote._local._linux import become_subreaper, die_with_parent

MARKER: Final = "FLAME_INSTANCE_ENDPOINT"  # in the environment of all that an instance starts


class Spawner:
    """Starts, signals and reaps. Single-threaded; blocks only in poll."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._partial = b""
        self._instances: dict[int, str] = {}  # pid, which is also the process group -> id
        self._markers: dict[int, str] = {}  # pid -> value of MARKER
        self._leavings: list[str] = []  # folders that are removed at the end
        self._children_ended, self._wakeup = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)

    @property
    def descriptors(self) -> tuple[int, ...]:
        """What a forked child of this process must close."""
        return (self._connection.fileno(), self._children_ended, self._wakeup)

    def announce(self, message: dict[str, Any]) -> None:
        """Tell the session manager something before the first request is read."""
        self._answer({"is": "ready", "id": "", **message})

    def run(self) -> None:
        """Serve until the session manager is gone."""
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(self._wakeup, warn_on_full_buffer=False)
        poll = select.poll()
        poll.register(self._connection.fileno(), select.POLLIN)
        poll.register(self._children_ended, select.POLLIN)
        while True:
            ready = {descriptor for descriptor, _ in poll.poll()}
            if self._children_ended in ready:
                os.read(self._children_ended, 4096)
                self._reap()
            if self._connection.fileno() in ready and not self._take_requests():
                return

    def end_all(self) -> None:
        """Kill every instance, and every process that descends from one."""
        for pid in self._instances:
            _kill_group(pid, signal.SIGKILL)
        # Killing a process hands its children to us, the subreaper; so again, until none is left.
        while pids := _children_of(os.getpid()):
            for pid in pids:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            select.select([self._children_ended], [], [], 0.05)
            self._reap()
        for path in self._leavings:
            shutil.rmtree(path, ignore_errors=True)

    # --- requests -----------------------------------------------------------------------

    def _take_requests(self) -> bool:
        try:
            data = self._connection.recv(1 << 16)
        except ConnectionError:
            return False
        if not data:
            return False
        *lines, self._partial = (self._partial + data).split(b"\n")
        for line in lines:
            request = json.loads(line)
            if request["do"] == "start":
                self._start(request)
            elif request["do"] == "remove":
                self._leavings.append(request["path"])
            else:
                for pid, instance_id in self._instances.items():
                    if instance_id == request["id"]:
                        _kill_group(pid, request["signal"])
        return True

    def _start(self, request: dict[str, Any]) -> None:
        try:
            with open(request["out"], "ab") as out, open(request["err"], "ab") as err:
                pid = self.launch(request, out.fileno(), err.fileno())
        except (OSError, subprocess.SubprocessError, ValueError) as error:
            self._answer({"is": "failed", "id": request["id"], "reason": str(error)})
            return
        self._instances[pid] = request["id"]
        self._markers[pid] = request["env"].get(MARKER, "")
        self._answer({"is": "started", "id": request["id"], "pid": pid})

    def launch(self, request: dict[str, Any], out: int, err: int) -> int:
        """Start what a request asks for, in a session of its own; return its pid."""
        me = os.getpid()
        process = subprocess.Popen(
            request["argv"],
            env=request["env"],
            cwd=request["cwd"],
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=err,
            start_new_session=True,
            preexec_fn=lambda: die_with_parent(me),  # we have one thread only
        )
        process.returncode = 0  # it is reaped by us, not by its destructor
        return process.pid

    # --- the end of children ------------------------------------------------------------

    def _reap(self) -> None:
        ended = False
        while True:
            try:
                pid, status, usage = os.wait4(-1, os.WNOHANG)
            except ChildProcessError:
                break
            if not pid:
                break
            instance_id = self._instances.pop(pid, None)
            if instance_id is None:
                continue
            ended = True
            del self._markers[pid]
            _kill_group(pid, signal.SIGKILL)  # what it has left in its group
            peak_bytes = usage.ru_maxrss * 1024
            self._answer(
                {"is": "ended", "id": instance_id, "status": status, "peak_bytes": peak_bytes}
            )
        if ended:
            self._end_orphans()

    def _end_orphans(self) -> None:
        """End what instances have left behind: children that are now ours, and no instance's."""
        living = set(self._markers.values())
        for pid in _children_of(os.getpid()):
            if pid not in self._instances and _marker_of(pid) not in living:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)

    def _answer(self, answer: dict[str, Any]) -> None:
        with suppress(OSError):  # the session manager is gone; the poll says so too
            self._connection.sendall(json.dumps(answer).encode() + b"\n")


def _children_of(pid: int) -> list[int]:
    try:
        with open(f"/proc/{pid}/task/{pid}/children") as file:
            return [int(word) for word in file.read().split()]
    except OSError:
        return []


def _marker_of(pid: int) -> str:
    try:
        with open(f"/proc/{pid}/environ", "rb") as file:
            for entry in file.read().split(b"\0"):
                if entry.startswith(MARKER.encode() + b"="):
                    return os.fsdecode(entry.partition(b"=")[2])
    except OSError:
        pass
    return ""


def _kill_group(pid: int, number: int) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, number)


def main(descriptor: int, make: Callable[[socket.socket], Spawner] = Spawner) -> None:
    """Run a spawner on an inherited socket. Called by the session manager's command line."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        # It ends with the session manager, not before. Not SIG_IGN, which instances would inherit.
        signal.signal(number, lambda *_: None)
    connection = socket.socket(fileno=descriptor)
    connection.set_inheritable(False)
    become_subreaper()
    spawner = make(connection)
    spawner.run()
    spawner.end_all()
    sys.exit(0)
