"""A folder of packed values, one file each, shared by any number of processes.

A file is magic b"FLMC", version u32, the blake2b digest (16 bytes) of what follows, count of
buffers u32, length of the pickle u64, length of each buffer u64, the pickle, the buffers;
little-endian. It is written beside its place and then moved there, so nobody sees part of one.
What is no such file counts as not there.
"""

from __future__ import annotations

import os
import pickle
import struct
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

from flame_remote._wire.packing import Packed
from flame_remote.exceptions import ObjectError

_HEADER: Final = struct.Struct("<4sI16s")
_SIZES: Final = struct.Struct("<IQ")
_LENGTH: Final = struct.Struct("<Q")
_MAGIC: Final = b"FLMC"
_VERSION: Final = 1
_SUFFIX: Final = ".value"
_UNFINISHED: Final = ".part"
_ABANDONED_SECONDS: Final = 3600.0  # a file that is being written so long has lost its writer
_KEPT: Final = 0.9  # of the bytes allowed, so that not every write has to make room


class CacheFolder:
    """Values by key, below a group each. Holds nothing open; safe to use from any thread."""

    def __init__(self, path: str, max_bytes: int) -> None:
        self._path = Path(path)
        self._max_bytes = max_bytes

    def read(self, group: str, key: str) -> Packed | None:
        """Return a value; None if it is not there, or damaged. Blocks on the disk.

        Raises ObjectError if others can write to the folder: reading a value runs its code.
        """
        file = self._place(group, key)
        try:
            content = file.read_bytes()
        except OSError:
            return None
        self._check_safe()
        packed = _unpacked_file(content)
        if packed is not None:
            with suppress(OSError):
                os.utime(file)  # asked for just now
        return packed

    def write(self, group: str, key: str, packed: Packed) -> None:
        """Keep a value, and throw others away if there are too many bytes. Blocks on the disk.

        Raises ObjectError if the folder cannot be written to.
        """
        file = self._place(group, key)
        part = file.with_name(f"{key}.{os.getpid()}.{time.monotonic_ns()}{_UNFINISHED}")
        try:
            self._path.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._check_safe()
            file.parent.mkdir(mode=0o700, exist_ok=True)
            try:
                with open(part, "xb") as stream:
                    for piece in _pieces(packed):
                        stream.write(piece)
                os.replace(part, file)
            except BaseException:
                part.unlink(missing_ok=True)
                raise
        except OSError as error:
            raise ObjectError(f"cannot write to the cache {self._path}: {error}") from error
        self._make_room()

    def clear(self, group: str) -> None:
        """Throw all values of a group away."""
        for entry in _files_in(self._path / group):
            with suppress(FileNotFoundError):
                os.unlink(entry.path)

    def _place(self, group: str, key: str) -> Path:
        return self._path / group / f"{key}{_SUFFIX}"

    def _check_safe(self) -> None:
        status = os.stat(self._path)
        if status.st_mode & 0o002 or status.st_uid not in (0, os.geteuid()):
            raise ObjectError(
                f"the cache {self._path} belongs to, or can be written by, other users, and what "
                f"is read from it is run as code: use a folder of your own, or `chmod o-w` it"
            )

    def _make_room(self) -> None:
        files, total = [], 0
        for group in _folders_in(self._path):
            for entry in _files_in(Path(group.path)):
                with suppress(FileNotFoundError):
                    status = entry.stat()
                    if entry.name.endswith(_SUFFIX):
                        files.append((status.st_mtime, status.st_size, entry.path))
                        total += status.st_size
                    elif time.time() - status.st_mtime > _ABANDONED_SECONDS:
                        os.unlink(entry.path)
        if total <= self._max_bytes:
            return
        for _, size, path in sorted(files):
            with suppress(FileNotFoundError):  # another process makes room, too
                os.unlink(path)
            total -= size
            if total <= self._max_bytes * _KEPT:
                return


def _folders_in(path: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(path) as entries:
            return [entry for entry in entries if entry.is_dir(follow_symlinks=False)]
    except FileNotFoundError:
        return []


def _files_in(path: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(path) as entries:
            return [entry for entry in entries if entry.is_file(follow_symlinks=False)]
    except FileNotFoundError:
        return []


# --- one file -------------------------------------------------------------------------------------


def _pieces(packed: Packed) -> Iterator[bytes | memoryview]:
    import hashlib

    buffers = [buffer.raw() for buffer in packed.buffers]
    sizes = _SIZES.pack(len(buffers), len(packed.data))
    sizes += b"".join(_LENGTH.pack(buffer.nbytes) for buffer in buffers)
    body: list[bytes | memoryview] = [sizes, packed.data, *buffers]
    digest = hashlib.blake2b(digest_size=16)
    for piece in body:
        digest.update(piece)
    yield _HEADER.pack(_MAGIC, _VERSION, digest.digest())
    yield from body


def _unpacked_file(content: bytes) -> Packed | None:
    """Take a file apart; None if it is none of ours, or not what was written."""
    import hashlib

    if len(content) < _HEADER.size + _SIZES.size:
        return None
    magic, version, digest = _HEADER.unpack_from(content)
    body = memoryview(content)[_HEADER.size :]
    if magic != _MAGIC or version != _VERSION:
        return None
    if hashlib.blake2b(body, digest_size=16).digest() != digest:
        return None
    count, length = _SIZES.unpack_from(body)
    start = _SIZES.size + count * _LENGTH.size
    lengths = [n for (n,) in _LENGTH.iter_unpack(body[_SIZES.size : start])]
    data, start = bytes(body[start : start + length]), start + length
    buffers = []
    for length in lengths:
        buffers.append(pickle.PickleBuffer(body[start : start + length]))
        start += length
    return Packed(data, buffers, ())
