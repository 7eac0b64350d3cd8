"""What a worker prints, as lines that say which task printed them."""

from __future__ import annotations

import io
import os
import threading
from collections.abc import Callable
from typing import Final

# A line that is longer is cut: one that never ends would be copied again for each piece.
_LONGEST_LINE: Final = 8192


class TaskOutput(io.TextIOBase):
    """Stands for sys.stdout or sys.stderr in a worker: whole lines, each with the task's name.

    Lines go to the driver through a pipe. What C code or a child process writes to the descriptor
    itself, or Python code to `buffer`, arrives as it is. Safe to use from any thread.
    """

    def __init__(self, descriptor: int, prefix: Callable[[], str]) -> None:
        # Constant after construction.
        self._descriptor = descriptor
        self._prefix = prefix
        self.buffer = io.FileIO(descriptor, "w", closefd=False)
        # Reentrant: a signal handler or a finaliser may print in the middle of a `write`.
        self._lock = threading.RLock()
        self.partial = ""  # guarded by self._lock

    encoding = "utf-8"

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._descriptor

    def write(self, text: str) -> int:
        with self._lock:
            *lines, self.partial = (self.partial + text).split("\n")
            if len(self.partial) > _LONGEST_LINE:
                lines.append(self.partial)
                self.partial = ""
            if lines:
                prefix = self._prefix()
                self._write_out("".join(f"{prefix}{line}\n" for line in lines))
        return len(text)

    def flush(self) -> None:
        """Nothing to do: whole lines are out already, and part of a line waits for its end."""

    def end_task(self) -> None:
        """Send the beginning of a line whose end never came."""
        with self._lock:
            if self.partial:
                self.write("\n")

    def _write_out(self, text: str) -> None:
        data = memoryview(text.encode("utf-8", "backslashreplace"))
        while data:
            data = data[os.write(self._descriptor, data) :]
