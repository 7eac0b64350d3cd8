"""What a process of ours prints, on its way to this process's own streams."""

from __future__ import annotations

import os
import sys
from collections import deque
from contextlib import suppress
from typing import Final

_TAIL_BYTES: Final = 4096


class OutputPipe:
    """The reading end of a process's output: passed on, and the end of it kept."""

    def __init__(self, descriptor: int, *, is_error: bool) -> None:
        """Take over a pipe's descriptor, which is made non-blocking."""
        os.set_blocking(descriptor, False)
        self.descriptor = descriptor
        self._is_error = is_error
        self._tail: deque[bytes] = deque()
        self._tail_bytes = 0

    def pass_on(self) -> str | None:
        """Return what there is to be printed; None at the end. Never blocks."""
        try:
            data = os.read(self.descriptor, 65536)
        except BlockingIOError:
            return ""
        if not data:
            return None
        self._tail.append(data)
        self._tail_bytes += len(data)
        while self._tail_bytes - len(self._tail[0]) > _TAIL_BYTES:
            self._tail_bytes -= len(self._tail.popleft())
        return data.decode("utf-8", "replace")

    def print(self, text: str) -> None:
        """Write to this process's own stream. May block; outside a turn."""
        stream = sys.stderr if self._is_error else sys.stdout
        with suppress(OSError, ValueError, AttributeError):  # closed, or there is none
            stream.write(text)
            stream.flush()

    def tail(self) -> str:
        """Return the last lines."""
        text = b"".join(self._tail)[-_TAIL_BYTES:].decode("utf-8", "replace")
        return text.strip("\n")

    def close(self) -> None:
        os.close(self.descriptor)
