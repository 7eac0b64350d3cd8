"""What a worker prints, as lines that say which task printed them."""

from __future__ import annotations

import io
import os
from collections.abc import Callable


class TaskOutput(io.TextIOBase):
    """Stands for sys.stdout or sys.stderr in a worker: whole lines, each with the task's name.

    Lines go to the driver through a pipe. What C code or a child process writes to the descriptor
    itself arrives as it is.
    """

    def __init__(self, descriptor: int, prefix: Callable[[], str]) -> None:
        self._descriptor = descriptor
        self._prefix = prefix
        self.partial = ""

    encoding = "utf-8"

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._descriptor

    def write(self, text: str) -> int:
        *lines, self.partial = (self.partial + text).split("\n")
        if lines:
            prefix = self._prefix()
            self._write_out("".join(f"{prefix}{line}\n" for line in lines))
        return len(text)

    def flush(self) -> None:
        """Nothing to do: whole lines are out already, and part of a line waits for its end."""

    def end_task(self) -> None:
        """Send the beginning of a line whose end never came."""
        if self.partial:
            self.write("\n")

    def _write_out(self, text: str) -> None:
        data = memoryview(text.encode("utf-8", "backslashreplace"))
        while data:
            data = data[os.write(self._descriptor, data) :]
