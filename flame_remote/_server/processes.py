"""The session manager's side of the spawner: start processes, signal them, hear of their ends."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

PACKAGE_PARENT: Final = str(Path(__file__).resolve().parent.parent.parent)


class StartError(Exception):
    """A process could not be started; the text says why."""


@dataclass(slots=True)
class Program:
    """What to run, and where its output goes."""

    argv: list[str]
    env: dict[str, str]
    cwd: str
    out: Path
    err: Path


class Process:
    """A process that the spawner has started. Belongs to the loop's thread."""

    def __init__(self, spawner: SpawnerHandle, process_id: str, err: Path) -> None:
        self._spawner = spawner
        self._id = process_id
        self._err = err
        self.pid = 0  # until it has started
        self.exit_code = -1  # or minus the signal; to be read when it has ended
        loop = asyncio.get_running_loop()
        self._started: asyncio.Future[None] = loop.create_future()
        self.ended: asyncio.Future[str] = loop.create_future()
        """Done when there is no process any more; how it ended, as a phrase."""

    async def started(self) -> None:
        """Wait until it runs. Raises StartError if it cannot."""
        await asyncio.shield(self._started)

    def on_started(self, pid: int) -> None:
        """The spawner has started it."""
        self.pid = pid
        self._started.set_result(None)

    def on_ended(self, how: str, exit_code: int = -1) -> None:
        """The spawner has seen its end, or could not start it."""
        self.exit_code = exit_code
        if not self._started.done():
            self._started.set_exception(StartError(how))
            self._started.exception()  # it is no news to somebody who does not ask
        self.ended.set_result(how)

    def send(self, number: signal.Signals) -> None:
        """Signal its process group. Does nothing when it has ended."""
        if not self.ended.done():
            self._spawner.request({"do": "signal", "id": self._id, "signal": int(number)})

    def last_output(self, limit: int = 4096) -> str:
        """Return the end of what it has written to its standard error, in whole lines."""
        try:
            with open(self._err, "rb") as file:
                size = file.seek(0, os.SEEK_END)
                file.seek(max(0, size - limit))
                text = file.read().decode(errors="replace")
        except OSError:
            return ""
        if size > limit:
            text = text.partition("\n")[2]
        return text.strip()

    def obituary(self) -> str:
        """Say how it ended, with its last output. To be asked when `ended` is done."""
        text = f"the process of instance {self._id} (pid {self.pid}) {self.ended.result()}"
        if output := self.last_output():
            text += f"; the last lines of its standard error:\n{output}"
        return text


@dataclass(frozen=True)
class SpawnerKind:
    """Which spawner is run: by which interpreter, which function of ours, with what around it."""

    python: str = sys.executable
    entry: str = "flame_remote._server.spawner:main"
    env: Mapping[str, str] | None = None  # None: this process's own
    log: Path | None = None  # None: where this process writes
    removes: tuple[Path, ...] = ()  # folders, when it ends


class SpawnerHandle:
    """A running spawner. Belongs to the loop's thread."""

    def __init__(self, kind: SpawnerKind = SpawnerKind()) -> None:
        self._kind = kind
        self._connection: socket.socket | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._partial = b""
        self._unsent = b""
        self._processes: dict[str, Process] = {}
        self._ready: asyncio.Future[dict[str, Any]] | None = None

    def open(self) -> None:
        """Start the spawner; returns before it is ready. Raises OSError."""
        ours, theirs = socket.socketpair()
        if self._process is not None:
            self._process.wait()  # the one before, which has ended
        module, _, function = self._kind.entry.partition(":")
        with ExitStack() as closing:
            closing.enter_context(theirs)
            code = (
                f"import sys; sys.path.insert(0, {PACKAGE_PARENT!r}); "
                f"from {module} import {function}; {function}({theirs.fileno()})"
            )
            output = None
            if self._kind.log is not None:
                output = closing.enter_context(open(self._kind.log, "ab"))
            self._process = subprocess.Popen(
                [self._kind.python, "-c", code],
                env=self._kind.env,
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        ours.setblocking(False)
        self._connection = ours
        loop = asyncio.get_running_loop()
        self._ready = loop.create_future()
        loop.add_reader(ours.fileno(), self._receive)
        for folder in self._kind.removes:
            self.request({"do": "remove", "path": str(folder)})

    async def ready(self) -> dict[str, Any]:
        """Wait until it has announced itself; return what it says, {} if it has ended instead.

        Only a zygote announces itself.
        """
        assert self._ready is not None
        return await asyncio.shield(self._ready)

    @property
    def is_open(self) -> bool:
        """True if it can start processes."""
        return self._connection is not None

    def start(self, process_id: str, program: Program) -> Process:
        """Start a process under an id of its own; it may be signalled at once. Raises OSError."""
        process = Process(self, process_id, program.err)
        if self._connection is None:
            self.open()  # it was killed, and its processes with it; there is no reason to give up
        self._processes[process_id] = process
        self.request(
            {
                "do": "start",
                "id": process_id,
                "argv": program.argv,
                "env": program.env,
                "cwd": program.cwd,
                "out": str(program.out),
                "err": str(program.err),
            }
        )
        return process

    def request(self, request: dict[str, Any]) -> None:
        """Send a request; what the socket does not take now goes later."""
        self._unsent += json.dumps(request).encode() + b"\n"
        self._send()

    def _send(self) -> None:
        if self._connection is None:
            return
        try:
            sent = self._connection.send(self._unsent)
        except BlockingIOError:
            sent = 0
        except OSError:
            return  # it has ended; _receive hears of it too
        self._unsent = self._unsent[sent:]
        loop = asyncio.get_running_loop()
        if self._unsent:
            loop.add_writer(self._connection.fileno(), self._send)
        else:
            loop.remove_writer(self._connection.fileno())

    def _receive(self) -> None:
        assert self._connection is not None
        try:
            data = self._connection.recv(1 << 16)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._lost()
            return
        *lines, self._partial = (self._partial + data).split(b"\n")
        for line in lines:
            self._take(json.loads(line))

    def _take(self, answer: dict[str, Any]) -> None:
        process_id = answer["id"]
        match answer["is"]:
            case "ready":
                assert self._ready is not None
                self._ready.set_result(answer)
            case "started":
                self._processes[process_id].on_started(answer["pid"])
            case "failed":
                self._processes.pop(process_id).on_ended(answer["reason"])
            case "ended":
                status = answer["status"]
                process = self._processes.pop(process_id)
                process.on_ended(describe_status(status), os.waitstatus_to_exitcode(status))

    def _lost(self) -> None:
        """The spawner has ended, and the kernel has ended its children with it."""
        self._close_connection()
        if self._ready is not None and not self._ready.done():
            self._ready.set_result({})
        processes, self._processes = self._processes, {}
        for process in processes.values():
            process.on_ended("was ended together with the process that starts instances")

    def _close_connection(self) -> None:
        if self._connection is None:
            return
        loop = asyncio.get_running_loop()
        loop.remove_reader(self._connection.fileno())
        loop.remove_writer(self._connection.fileno())
        self._connection.close()
        self._connection = None

    async def close(self) -> None:
        """End the spawner and everything below it; wait until it has."""
        self._close_connection()
        if self._process is not None:
            await asyncio.get_running_loop().run_in_executor(None, self._process.wait)
        self._lost()


def describe_status(status: int) -> str:
    """Return a wait status as a phrase: "ended with exit code 3", "was killed by SIGSEGV"."""
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        name = str(number)
        with suppress(ValueError):
            name = signal.Signals(number).name
        text = f"was killed by signal {number} ({name})"
        return text + (" and dumped core" if os.WCOREDUMP(status) else "")
    return f"ended with exit code {os.waitstatus_to_exitcode(status)}"
