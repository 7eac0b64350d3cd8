"""Finished results that a worker has not sent yet, in memory that outlives it.

Results of short calls travel together. Where a call that has ended must not run again (a method of
an actor, `max_retries=0`) its result is put here before the next call starts, which costs a tenth
of a message: should that call end the process, the driver finds the result here.
"""

from __future__ import annotations

import io
import pickle
from typing import Final

from flame_remote._outcome import Kind

from .messages import ResultEntry

JOURNAL_BYTES: Final = 2048  # for each worker
_HEADER_BYTES: Final = 8  # how many bytes follow
_ENTRY_BYTES_MAX: Final = 512


class Journal:
    """A worker's end. Guarded by the turn of its link."""

    def __init__(self, memory: memoryview) -> None:
        """Take JOURNAL_BYTES of memory that the driver sees, all zeros."""
        self._length = memory[:_HEADER_BYTES].cast("Q")
        self._room = memory[_HEADER_BYTES:]
        self._end = 0

    def add(self, entry: ResultEntry) -> bool:
        """Keep a result; False if it is too large, holds more than bytes, or there is no room."""
        if entry[1] > Kind.PICKLED or entry[3]:
            return False
        data = pickle.dumps(entry, 5)
        end = self._end + len(data)
        if len(data) > _ENTRY_BYTES_MAX or end > len(self._room):
            return False
        self._room[self._end : end] = data
        self._length[0] = self._end = end  # last: until then it is as if nothing had happened
        return True

    def clear(self) -> None:
        """Forget all results: they were sent."""
        if self._end:
            self._length[0] = self._end = 0


def read_journal(memory: memoryview) -> list[ResultEntry]:
    """Return what a worker that is gone had kept; some of it may have been sent."""
    length = int(memory[:_HEADER_BYTES].cast("Q")[0])
    stream = io.BytesIO(memory[_HEADER_BYTES : _HEADER_BYTES + length])
    entries: list[ResultEntry] = []
    while stream.tell() < length:
        entries.append(pickle.load(stream))
    return entries
