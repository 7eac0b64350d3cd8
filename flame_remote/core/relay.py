"""Calls to a cluster through a process of their own: for forked children, where gRPC is broken."""

from __future__ import annotations

import asyncio
import itertools
import os
import socket
import subprocess
import sys
from collections.abc import AsyncGenerator
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import flame_remote
from flame_remote.exceptions import ClusterError, ForkedError

from .channels import check_context
from .context import FlameContext
from .relay_frames import Ask, End, Forget, Item, Reconnect, Start, read_frame, write_frame

_PROGRAM: Final = "from flame_remote.core import relay_process as r; r.main({})"
_END_SECONDS: Final = 5.0  # for a process whose socket was closed


class RelayTransport:
    """A transport for a forked child. Belongs to the thread of one asyncio loop.

    gRPC's threads do not exist in the child, and its descriptors are the parent's. A fresh process,
    which ends with this one, does the calls; a call through it takes about twice as long.
    """

    def __init__(self, context: FlameContext) -> None:
        # Constant after `start`.
        self._context = context
        self._process: subprocess.Popen[bytes]
        self._writer: asyncio.StreamWriter
        self._reading: asyncio.Task[None]
        # Changing.
        self._numbers = itertools.count(1)
        self._answers: dict[int, asyncio.Queue[Item | End]] = {}
        self._lost = False

    @classmethod
    async def start(
        cls, context: FlameContext, connect_timeout: float, reconnect_timeout: float
    ) -> RelayTransport:
        """Start the process. Raises ClusterError (INVALID_CONFIG) as `Lines` does."""
        check_context(context)
        ours, theirs = socket.socketpair()
        with theirs:
            transport = cls(context)
            transport._process = _start_process(theirs.fileno())
        reader, transport._writer = await asyncio.open_unix_connection(sock=ours)
        transport._reading = asyncio.create_task(transport._read(reader))
        write_frame(transport._writer, Start(context, connect_timeout, reconnect_timeout))
        return transport

    @property
    def stub(self) -> Any:
        """There is none here."""
        raise ForkedError("in a forked process there is no gRPC channel; use Connection.acall")

    async def call(self, method: str, request: Any, seconds: float) -> Any:
        """Call the cluster; `seconds` are for all of it. Raises ClusterError."""
        async for answer in self._ask(Ask(next(self._numbers), method, request, seconds)):
            return answer
        raise AssertionError("a call ends with an answer or an error")

    def stream(self, method: str, request: Any) -> AsyncGenerator[Any, None]:
        """Yield the messages of a stream; raises what `GrpcTransport.stream` raises."""
        return self._ask(Ask(next(self._numbers), method, request, None))

    async def reconnected(self) -> None:
        """Wait for a server that has gone; raise ConnectError when it stays away too long."""
        async for _ in self._ask(Reconnect(next(self._numbers))):
            pass

    async def close(self) -> None:
        """End the process."""
        self._reading.cancel()
        self._writer.close()
        with suppress(ConnectionError):
            await self._writer.wait_closed()
        try:
            self._process.wait(_END_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    async def _ask(self, frame: Ask | Reconnect) -> AsyncGenerator[Any, None]:
        """Yield what is answered."""
        if self._lost:
            raise self._lost_error()
        answers: asyncio.Queue[Item | End] = asyncio.Queue()
        self._answers[frame.number] = answers
        ended = False
        try:
            write_frame(self._writer, frame)
            while True:
                answer = await answers.get()
                if isinstance(answer, Item):
                    yield answer.message
                    continue
                ended = True
                if answer.error is not None:
                    raise answer.error
                return
        finally:
            del self._answers[frame.number]
            if not ended and not self._lost:
                write_frame(self._writer, Forget(frame.number))

    async def _read(self, reader: asyncio.StreamReader) -> None:
        """Hand on what the process says, until it ends."""
        while (frame := await read_frame(reader)) is not None:
            if frame.number in self._answers:
                self._answers[frame.number].put_nowait(frame)
        self._lost = True
        for number, answers in self._answers.items():
            answers.put_nowait(End(number, self._lost_error()))

    def _lost_error(self) -> ClusterError:
        return ClusterError(
            f"the process that calls {self._context.endpoint} for this forked one has ended"
        )


def _start_process(descriptor: int) -> subprocess.Popen[bytes]:
    """Start the process that calls, with this package on its path."""
    package = str(Path(flame_remote.__file__).parent.parent)
    path = [package, *filter(None, [os.environ.get("PYTHONPATH")])]
    return subprocess.Popen(
        [sys.executable, "-c", _PROGRAM.format(descriptor)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(path)},
        stdin=subprocess.DEVNULL,
        pass_fds=[descriptor],
        start_new_session=True,  # Ctrl-C is for the processes that the user sees
    )
