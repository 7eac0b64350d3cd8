"""The folder of the instances' sockets, and hearing of new ones without looking again and again."""

from __future__ import annotations

import asyncio
import ctypes
import os
import shutil
import struct
import tempfile
from pathlib import Path
from typing import Final

_IN_CREATE: Final = 0x100
_IN_MOVED_TO: Final = 0x80
_EVENT: Final = struct.Struct("iIII")  # wd, mask, cookie, length of the name that follows
_LONGEST_PATH: Final = 107  # of a Unix socket on Linux, in bytes


class SocketFolder:
    """A private folder with a short path. Belongs to the loop's thread."""

    def __init__(self) -> None:
        """Make the folder and watch it. Raises OSError."""
        self.path = Path(tempfile.mkdtemp(prefix="flame-", dir=_short_folder()))
        self._awaited: dict[str, asyncio.Future[None]] = {}
        self._inotify = _watch(self.path)
        asyncio.get_running_loop().add_reader(self._inotify, self._read)

    def socket_of(self, instance_id: str) -> Path:
        """Return where the socket of an instance must appear."""
        return self.path / f"{instance_id}.sock"

    async def appears(self, path: Path) -> None:
        """Wait until the socket is there."""
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._awaited[path.name] = waiter
        try:
            if not path.exists():
                await waiter
        finally:
            del self._awaited[path.name]

    def _read(self) -> None:
        events = os.read(self._inotify, 1 << 16)
        position = 0
        while position < len(events):
            *_, length = _EVENT.unpack_from(events, position)
            position += _EVENT.size
            name = os.fsdecode(events[position : position + length].rstrip(b"\0"))
            position += length
            waiter = self._awaited.get(name)
            if waiter is not None and not waiter.done():
                waiter.set_result(None)

    def close(self) -> None:
        """Remove the folder with all sockets in it."""
        asyncio.get_running_loop().remove_reader(self._inotify)
        os.close(self._inotify)
        shutil.rmtree(self.path, ignore_errors=True)


def _short_folder() -> str:
    """Return a folder for temporary files whose path leaves room for a socket's name."""
    folder = tempfile.gettempdir()
    return folder if len(os.fsencode(folder)) <= _LONGEST_PATH - 60 else "/tmp"


def _watch(folder: Path) -> int:
    """Return a descriptor that tells of new files in a folder; the caller owns it."""
    libc = ctypes.CDLL(None, use_errno=True)
    descriptor = libc.inotify_init1(os.O_CLOEXEC | os.O_NONBLOCK)
    if descriptor < 0:
        raise OSError(ctypes.get_errno(), "inotify cannot be used")
    if libc.inotify_add_watch(descriptor, os.fsencode(folder), _IN_CREATE | _IN_MOVED_TO) < 0:
        os.close(descriptor)
        raise OSError(ctypes.get_errno(), f"cannot watch {folder}")
    return int(descriptor)
