"""What each worker has started last: one word of shared memory for each.

A worker writes it before it touches anything of a task, and it outlives the worker however that
ends, so the driver knows which tasks of a lost worker had started without a message for each.
"""

from __future__ import annotations

import mmap
import os
from collections import deque
from typing import Final

from flame_remote._ids import TaskId, WorkerId
from flame_remote.exceptions import WorkerStartError

from ._linux import memory_file

PROGRESS_BYTES: Final = 64 * 1024
_WORDS: Final = PROGRESS_BYTES // 8


class Progress:
    """The driver's view of the words. A word is a worker's from `assign` to `release`.

    Changed inside a turn; reading is safe at any time.
    """

    def __init__(self) -> None:
        """Begin with zeros. Raises OSError."""
        self.descriptor = memory_file("flame-progress", PROGRESS_BYTES)
        try:
            self._memory = mmap.mmap(self.descriptor, PROGRESS_BYTES)
        except BaseException:
            os.close(self.descriptor)
            raise
        self._words = memoryview(self._memory).cast("Q")
        self._word_of: dict[WorkerId, int] = {}
        self._never_used = iter(range(_WORDS))
        # The longest unused first: a process that is being killed may still write a moment later.
        self._released: deque[int] = deque()

    def assign(self, worker_id: WorkerId) -> int:
        """Return the number of the word of a new worker, which has started nothing.

        Raises WorkerStartError if all are in use.
        """
        word = next(self._never_used, None)
        if word is None:
            if not self._released:
                raise WorkerStartError(f"there are {_WORDS} already, more are not possible")
            word = self._released.popleft()
        self._word_of[worker_id] = word
        self._words[word] = 0
        return word

    def release(self, worker_id: WorkerId) -> None:
        """The worker is gone, if it was there; another may have its word."""
        word = self._word_of.pop(worker_id, None)
        if word is not None:
            self._released.append(word)

    def last_started(self, worker_id: WorkerId) -> TaskId:
        """Return the task that a worker has started last, 0 if none."""
        word = self._word_of.get(worker_id)
        return 0 if word is None else int(self._words[word])

    def close(self) -> None:
        """Give the memory back."""
        self._words.release()
        self._memory.close()
        os.close(self.descriptor)
