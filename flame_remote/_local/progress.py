"""What each worker has started last: one word of shared memory for each.

A worker writes it before it touches anything of a task, and it outlives the worker however that
ends, so the driver knows which tasks of a lost worker had started without a message for each.
"""

from __future__ import annotations

import mmap
import os

from flame_remote._ids import TaskId, WorkerId

from ._linux import memory_file
from .spawner import PROGRESS_BYTES, PROGRESS_SLOTS


class Progress:
    """The driver's view of the words. Reading is safe at any time."""

    def __init__(self) -> None:
        self.descriptor = memory_file("flame-progress", PROGRESS_BYTES)
        self._memory = mmap.mmap(self.descriptor, PROGRESS_BYTES)
        self._words = memoryview(self._memory).cast("Q")

    def last_started(self, worker_id: WorkerId) -> TaskId:
        """Return the task that the worker has started last, 0 if none."""
        return int(self._words[worker_id % PROGRESS_SLOTS])

    def reset(self, worker_id: WorkerId) -> None:
        """A new worker has started nothing."""
        self._words[worker_id % PROGRESS_SLOTS] = 0

    def close(self) -> None:
        """Give the memory back."""
        self._words.release()
        self._memory.close()
        os.close(self.descriptor)
