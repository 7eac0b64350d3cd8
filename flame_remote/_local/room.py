"""Making room in the store: values that nobody reads move to the spill file, oldest first."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import TYPE_CHECKING

from flame_remote import _ids
from flame_remote._ids import ObjectId
from flame_remote._outcome import Kind

from .arena import SEGMENT_SHIFT, Extent
from .messages import Shrink
from .objects import StoredObject
from .spill import SpillFile
from .values import Location

if TYPE_CHECKING:
    from .core import Core


class Room:
    """Moves stored values from shared memory to a private file without a name. Inside a turn.

    A value that somebody reads stays: what is mapped cannot move. A spilled value is read from the
    file by everybody, through the same mappings, and does not come back.
    """

    def __init__(self, core: Core) -> None:
        self._core = core
        self._spill: SpillFile | None = None

    def make(self, needed_bytes: int, owner: int) -> None:
        """Free memory for `owner`, 0 for the driver, as far as there is anything to free.

        Raises SpillError if the file takes no more.
        """
        missing = needed_bytes
        for object_id, stored in self._victims(owner):
            self._move(object_id, stored)
            missing -= stored.data[2]
            if missing <= 0:
                return
        # Not enough of its own. Others give back to the budget what they do not use.
        if owner != _ids.DRIVER:
            for object_id, stored in self._victims(_ids.DRIVER):
                self._move(object_id, stored)
                missing -= stored.data[2]
                if missing <= 0:
                    break
            self._core.callbacks.append(self._core.storage.shrink)  # has a turn of its own
        for worker in self._core.crew.workers.values():
            if worker.id != owner and worker.reserved_bytes:
                self._core.crew.send(worker, Shrink())

    def free(self, location: Location) -> bool:
        """Take back a place in the spill file; False if the location is somewhere else."""
        segment, offset, size, _ = location
        if self._spill is None or segment != self._spill.segment:
            return False
        self._spill.free(Extent(segment, offset, size))
        return True

    def close(self) -> None:
        """Give the file back."""
        if self._spill is not None:
            self._spill.close()

    def _victims(self, owner: int) -> Iterator[tuple[ObjectId, StoredObject]]:
        for object_id, stored in list(self._core.objects.by_id.items()):
            if stored.kind == Kind.STORED and not stored.pins:
                segment, _, _, checksum = stored.data
                if checksum is None and segment >> SEGMENT_SHIFT == owner:
                    yield object_id, stored

    def _move(self, object_id: ObjectId, stored: StoredObject) -> None:
        if self._spill is None:
            self._spill = SpillFile(_ids.DRIVER, self._core.segments.add)
        segment, offset, size, _ = location = stored.data
        content = os.pread(self._core.segments.descriptor(segment), size, offset)
        extent = self._spill.write(memoryview(content))
        checksum = self._spill.checksum(extent)
        stored.data = (extent.segment, extent.offset, extent.size, checksum)
        self._core.free(location)
