"""What each worker has started last: one word of shared memory for each, and its journal.

A worker writes the word before it touches anything of a task, and it outlives the worker however
that ends, so the driver knows which tasks of a lost worker had started without a message for each.
"""

from __future__ import annotations

import mmap
import os
from collections import deque
from typing import Final

from flame_remote._ids import TaskId, WorkerId
from flame_remote.exceptions import WorkerStartError

from ._linux import memory_file
from .journal import JOURNAL_BYTES, read_journal
from .messages import ResultEntry

WORDS: Final = 8192
PROGRESS_BYTES: Final = WORDS * (8 + JOURNAL_BYTES)  # memory is taken where it is written to


def word_and_journal(memory: mmap.mmap, word: int) -> tuple[memoryview, memoryview]:
    """Return a worker's word, as a sequence of one number, and the bytes of its journal."""
    start = WORDS * 8 + word * JOURNAL_BYTES
    whole = memoryview(memory)
    return whole[word * 8 : word * 8 + 8].cast("Q"), whole[start : start + JOURNAL_BYTES]


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
        self._words = memoryview(self._memory)[: WORDS * 8].cast("Q")
        self._word_of: dict[WorkerId, int] = {}
        self._never_used = iter(range(WORDS))
        # The longest unused first: a process that is being killed may still write a moment later.
        self._released: deque[int] = deque()

    def assign(self, worker_id: WorkerId) -> int:
        """Return the number of the word of a new worker, which has started nothing.

        Raises WorkerStartError if all are in use.
        """
        word = next(self._never_used, None)
        if word is None:
            if not self._released:
                raise WorkerStartError(f"there are {WORDS} already, more are not possible")
            word = self._released.popleft()
        self._word_of[worker_id] = word
        self._words[word] = 0
        _, journal = word_and_journal(self._memory, word)
        journal[:8] = bytes(8)
        journal.release()
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

    def unsent_results(self, worker_id: WorkerId) -> list[ResultEntry]:
        """Return results that a worker which is gone had kept; some may have been sent."""
        word = self._word_of.get(worker_id)
        if word is None:
            return []
        _, journal = word_and_journal(self._memory, word)
        with journal:
            return read_journal(journal)

    def close(self) -> None:
        """Give the memory back."""
        self._words.release()
        self._memory.close()
        os.close(self.descriptor)
