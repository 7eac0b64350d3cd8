"""Unpacks archives that others have made: plain files and directories, and nothing else.

Links, devices, absolute paths and paths with ".." are refused, whatever they point at: an archive
that needs them is broken or hostile. The standard library's filters have let some through.
"""

from __future__ import annotations

import os
import shutil
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final

MOST_BYTES: Final = 8 << 30  # unpacked
MOST_ENTRIES: Final = 500_000


class ArchiveError(Exception):
    """The archive is refused, or is none; the text names the entry and says why."""


@dataclass(slots=True)
class _Entry:
    name: str
    size: int
    is_folder: bool
    executable: bool
    refused: str  # why, "" if it is a plain file or folder
    member: tarfile.TarInfo | zipfile.ZipInfo


def unpack(archive: Path, folder: Path) -> None:
    """Unpack a .tar, .tar.gz, .tar.bz2, .tar.xz or .zip into a folder, which must not exist.

    Its kind is seen from its content. All entries are looked at before anything is written; on an
    error nothing is left.

    Raises:
        ArchiveError: it is no archive, is damaged, or has an entry that is refused.
        OSError: the disk is full, say.
    """
    try:
        with _opened(archive) as opened:
            entries = list(_entries(opened))
            _check(entries)
            folder.mkdir(parents=True)
            try:
                for entry in entries:
                    _write(opened, entry, folder)
            except BaseException:
                shutil.rmtree(folder, ignore_errors=True)
                raise
    except (tarfile.TarError, zipfile.BadZipFile, EOFError, zlib.error) as error:
        raise ArchiveError(f"the archive is damaged: {error}") from error


_Opened = tarfile.TarFile | zipfile.ZipFile


@contextmanager
def _opened(archive: Path) -> Iterator[_Opened]:
    if zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as zip_file:
            yield zip_file
    elif _is_tar(archive):
        with tarfile.open(archive) as tar_file:
            yield tar_file
    else:
        raise ArchiveError("it is neither a tar archive nor a zip file")


def _is_tar(archive: Path) -> bool:
    try:
        return tarfile.is_tarfile(archive)
    except (EOFError, zlib.error):  # compressed, and cut off before the first header
        return False


def _entries(opened: _Opened) -> Iterator[_Entry]:
    if isinstance(opened, zipfile.ZipFile):
        for info in opened.infolist():
            mode = info.external_attr >> 16
            kind = stat.S_IFMT(mode)
            refused = "" if kind in (0, stat.S_IFREG, stat.S_IFDIR) else _kind_of(mode)
            yield _Entry(
                *(info.filename, info.file_size, info.is_dir(), bool(mode & 0o100)),
                *(refused, info),
            )
        return
    for member in opened:
        refused = ""
        if member.islnk() or member.issym():
            refused = f"a link (to {member.linkname!r})"
        elif not (member.isreg() or member.isdir()):
            refused = "neither a file nor a folder"
        yield _Entry(
            *(member.name, member.size, member.isdir(), bool(member.mode & 0o100)),
            *(refused, member),
        )


def _kind_of(mode: int) -> str:
    return "a link" if stat.S_ISLNK(mode) else "neither a file nor a folder"


def _check(entries: list[_Entry]) -> None:
    """Raise ArchiveError for the first entry that is refused."""
    if len(entries) > MOST_ENTRIES:
        raise ArchiveError(f"it has {len(entries)} entries, more than {MOST_ENTRIES}")
    if sum(entry.size for entry in entries) > MOST_BYTES:
        raise ArchiveError(f"it is larger than {MOST_BYTES} bytes when unpacked")
    for entry in entries:
        if entry.refused:
            raise ArchiveError(
                f"{entry.name!r} is {entry.refused}, and only plain files and folders are "
                "unpacked; leave it out of the package"
            )
        if entry.name.startswith("/") or "\\" in entry.name or ":" in entry.name[:2]:
            raise ArchiveError(f"{entry.name!r} is an absolute path, or one of another system")
        if ".." in entry.name.split("/") or "\0" in entry.name:
            raise ArchiveError(f"{entry.name!r} leads out of the folder it is unpacked into")


def _write(opened: _Opened, entry: _Entry, folder: Path) -> None:
    path = folder / entry.name
    if entry.is_folder:
        path.mkdir(parents=True, exist_ok=True)
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    # O_EXCL: an entry that comes twice is refused, and nothing is ever written through a link.
    mode = 0o755 if entry.executable else 0o644
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    except FileExistsError:
        raise ArchiveError(f"{entry.name!r} comes twice") from None
    with os.fdopen(descriptor, "wb") as file, _content(opened, entry) as content:
        _copy(content, file, entry)


def _content(opened: _Opened, entry: _Entry) -> IO[bytes]:
    if isinstance(entry.member, zipfile.ZipInfo):
        assert isinstance(opened, zipfile.ZipFile)
        return opened.open(entry.member)
    assert isinstance(opened, tarfile.TarFile)
    content = opened.extractfile(entry.member)
    if content is None:
        raise ArchiveError(f"{entry.name!r} has no content")
    return content


def _copy(content: IO[bytes], file: IO[bytes], entry: _Entry) -> None:
    """Copy no more than the entry says that it has: a zip can lie about it."""
    left = entry.size
    while left and (chunk := content.read(min(left, 1 << 20))):
        file.write(chunk)
        left -= len(chunk)
    if left:
        raise ArchiveError(f"{entry.name!r} is cut off, {left} bytes are missing")
