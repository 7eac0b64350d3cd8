"""One end of the connection between the driver and a worker."""

from __future__ import annotations

import os
import socket
from collections import deque
from collections.abc import Sequence
from typing import Final

from .limits import out_of_files
from .messages import HEADER, Message, NotAMessage, decode, encode

_BUFFER_BYTES: Final = 256 * 1024
_MAX_DESCRIPTORS: Final = 64  # in one receive; the kernel's own limit is 253
_ANCILLARY_BYTES: Final = socket.CMSG_SPACE(_MAX_DESCRIPTORS * 4)


class Receiver:
    """Takes messages out of a stream socket. One thread at a time."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        # One buffer for good: a fresh one for each receive costs more than the receive.
        self._buffer = memoryview(bytearray(_BUFFER_BYTES))
        self._partial = bytearray()  # the beginning of a frame whose end has not come yet
        self.descriptors: deque[int] = deque()  # arrived, and not yet taken by their message

    def receive(self, flags: int = 0) -> list[Message] | None:
        """Take in what is there; return the messages completed by it, None at the end of stream.

        Blocks if the socket does and `flags` do not say MSG_DONTWAIT; then raises BlockingIOError.
        Raises NotAMessage for bytes that are none, and OSError (EMFILE) if descriptors that came
        along are lost. The stream may end within a frame, if who wrote it was killed; that frame
        does not count.
        """
        size, ancillary, state, _ = self._connection.recvmsg_into(
            [self._buffer], _ANCILLARY_BYTES, flags | socket.MSG_CMSG_CLOEXEC
        )
        for level, kind, data in ancillary:
            if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                self._take_descriptors(data)
        if state & socket.MSG_CTRUNC:
            raise out_of_files()
        if not size:
            return None
        if self._partial:
            self._partial += self._buffer[:size]
            whole = memoryview(bytes(self._partial)) if self._is_complete() else None
            if whole is None:
                return []
            messages, used = self._split(whole)
            del self._partial[:used]
            return messages
        messages, used = self._split(self._buffer[:size])
        if used < size:
            self._partial += self._buffer[used:size]
        return messages

    def close(self) -> None:
        """Close descriptors that nobody took."""
        while self.descriptors:
            os.close(self.descriptors.popleft())

    def _is_complete(self) -> bool:
        """Say whether a whole frame is there: a large one is not copied again for each piece."""
        if len(self._partial) < HEADER.size:
            return False
        return len(self._partial) >= HEADER.size + _body_length(self._partial, 0)

    def _split(self, data: memoryview) -> tuple[list[Message], int]:
        messages: list[Message] = []
        position, end = 0, len(data)
        while end - position >= HEADER.size:
            length = _body_length(data, position)
            start = position + HEADER.size
            if end - start < length:
                break
            messages.append(decode(data[start : start + length]))
            position = start + length
        return messages, position

    def _take_descriptors(self, data: bytes) -> None:
        usable = len(data) - len(data) % 4
        for index in range(0, usable, 4):
            self.descriptors.append(int.from_bytes(data[index : index + 4], "little"))


def _body_length(data: bytearray | memoryview, position: int) -> int:
    """Return how long the body of the frame at `position` is.

    Raises NotAMessage for what is no header. Most nonsense would else pass for the beginning of a
    very long frame, whose end never comes.
    """
    length, descriptors = HEADER.unpack_from(data, position)
    if descriptors > _MAX_DESCRIPTORS:
        raise NotAMessage(f"not a frame: it claims to come with {descriptors} descriptors")
    return int(length)


class Sender:
    """Puts messages into a non-blocking stream socket, keeping what it does not take at once."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._waiting: deque[tuple[memoryview, Sequence[int]]] = deque()

    @property
    def is_clogged(self) -> bool:
        """Whether something waits for the socket to take more."""
        return bool(self._waiting)

    def send(self, message: Message, descriptors: Sequence[int] = ()) -> None:
        """Send, or keep for later. Never blocks. What nobody will read any more is dropped.

        Descriptors must stay open until they are sent.
        """
        self._waiting.append((memoryview(encode(message, len(descriptors))), descriptors))
        self.flush()

    def flush(self) -> None:
        """Send as much of what waits as the socket takes."""
        while self._waiting:
            data, descriptors = self._waiting[0]
            try:
                if descriptors:
                    sent = socket.send_fds(self._connection, [data], list(descriptors))
                else:
                    sent = self._connection.send(data)
            except BlockingIOError:
                return
            except OSError:  # the other side is gone; who reads from it learns that, too
                self._waiting.clear()
                return
            if sent < len(data):
                self._waiting[0] = (data[sent:], ())
            else:
                self._waiting.popleft()
