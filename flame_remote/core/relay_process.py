"""The process that calls a cluster for a forked one, in which gRPC does not work any more."""

from __future__ import annotations

import asyncio
import socket
from contextlib import aclosing, suppress

from .relay_frames import Ask, End, Forget, Item, Reconnect, Start, read_frame, write_frame
from .transport import GrpcTransport, Transport


class RelayServer:
    """Answers what one forked process asks for, until that closes the socket or ends."""

    def __init__(self, transport: Transport, writer: asyncio.StreamWriter) -> None:
        self._transport = transport
        self._writer = writer
        self._tasks: dict[int, asyncio.Task[None]] = {}

    async def serve(self, reader: asyncio.StreamReader) -> None:
        """Take in frames until there are no more."""
        while (frame := await read_frame(reader)) is not None:
            if isinstance(frame, Forget):
                if frame.number in self._tasks:
                    self._tasks[frame.number].cancel()
            else:
                self._tasks[frame.number] = asyncio.create_task(self._answer(frame))
        for task in list(self._tasks.values()):
            task.cancel()

    async def _answer(self, frame: Ask | Reconnect) -> None:
        """Do what is asked for, and say how it ended."""
        error: Exception | None = None
        try:
            await self._do(frame)
        except Exception as raised:
            error = raised
        finally:
            del self._tasks[frame.number]
        with suppress(ConnectionError):  # who asked has ended
            write_frame(self._writer, End(frame.number, error))
            await self._writer.drain()

    async def _do(self, frame: Ask | Reconnect) -> None:
        if isinstance(frame, Reconnect):
            await self._transport.reconnected()
        elif frame.seconds is not None:
            answer = await self._transport.call(frame.method, frame.request, frame.seconds)
            write_frame(self._writer, Item(frame.number, answer))
        else:
            async with aclosing(self._transport.stream(frame.method, frame.request)) as messages:
                async for message in messages:
                    write_frame(self._writer, Item(frame.number, message))
                    await self._writer.drain()


async def _serve(descriptor: int) -> None:
    reader, writer = await asyncio.open_unix_connection(sock=socket.socket(fileno=descriptor))
    start = await read_frame(reader)
    if not isinstance(start, Start):
        return  # the other side has ended already
    transport = GrpcTransport(start.context, start.connect_timeout, start.reconnect_timeout)
    try:
        await RelayServer(transport, writer).serve(reader)
    finally:
        await transport.close()
        writer.close()


def main(descriptor: int) -> None:
    """Serve the socket that was inherited, until its other end is closed."""
    asyncio.run(_serve(descriptor))
