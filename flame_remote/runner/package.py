"""The package: the current folder as an archive that workers install."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import re
import stat
import tarfile
import tempfile
import warnings
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from flame_remote.exceptions import ClusterError, FlameErrorCode, InvalidOptionError

from .folder import DIST, FolderContents, check_folder, contents_of

LARGE_BYTES: Final = 32 * 1024 * 1024  # of files; more than that is told
_METADATA: Final = ("pyproject.toml", "setup.py", "setup.cfg")
_SHOWN: Final = 10
_CHUNK_BYTES: Final = 1 << 20
# The format of the archive; a new one gets a new number, so that nothing old is taken for it.
_FORMAT: Final = b"flame_remote package 1\n"


class PackageWarning(UserWarning):
    """Something about a package that its owner should know before it is sent."""


@dataclass(frozen=True, slots=True)
class Package:
    """A packed folder.

    `digest` is of the names and contents of its files, 16 hexadecimal digits; two equal folders
    have one digest, and byte for byte one archive. `stored_name` is its name in a storage.
    """

    path: Path
    stored_name: str
    digest: str
    size_bytes: int

    def remove(self) -> None:
        """Remove the archive, and the folder `dist` if nothing else is in it."""
        self.path.unlink(missing_ok=True)
        with suppress(OSError):  # not empty, or not ours
            self.path.parent.rmdir()


def build_package(
    folder: Path,
    name: str,
    excludes: Sequence[str] = (),
    dependencies: Sequence[str] | None = None,
) -> Package:
    """Pack a folder into `dist/NAME.tar.gz`; use what is there if it is of the same contents.

    Warns (PackageWarning) of what looks private and is left out, of links, and of a large size.

    Args:
        folder: what to pack.
        name: of the application.
        excludes: patterns of what to leave out, as in a .gitignore.
        dependencies: what workers must install, for a folder that does not say so itself.

    Raises:
        ClusterError: INVALID_CONFIG; the folder is no project, or something cannot be read.
        InvalidOptionError: a dependency is none, or the folder has a pyproject.toml that should
            name it.
    """
    check_folder(folder)
    contents = contents_of(folder, excludes)
    extra = _generated_metadata(contents, name, dependencies)
    _warn(folder, contents)
    digests = _digests_of(folder, contents)
    digest = _digest(folder, digests, extra)
    stored_name = f"{name}-{digest}.tar.gz"
    path = _destination(folder) / f"{name}.tar.gz"
    if _digest_inside(path) != digest:
        _write(folder, digests, extra, digest, path)
    return Package(path, stored_name, digest, path.stat().st_size)


def digest_of_folder(folder: Path, name: str, excludes: Sequence[str] = ()) -> str:
    """Return the digest that the package of a folder would have; "" for a folder that has none."""
    try:
        check_folder(folder)
        contents = contents_of(folder, excludes)
        extra = _generated_metadata(contents, name, None)
        return _digest(folder, _digests_of(folder, contents), extra)
    except ClusterError:
        return ""


# --- what else goes in ----------------------------------------------------------------------------


def _generated_metadata(
    contents: FolderContents, name: str, dependencies: Sequence[str] | None
) -> dict[str, bytes]:
    """Return the pyproject.toml of a folder that has none, so that workers can install it."""
    own = [file for file in _METADATA if file in contents.files]
    if own:
        if dependencies:
            raise InvalidOptionError(
                f"dependencies={list(dependencies)!r} would have no effect: this folder has a "
                f"{own[0]}, and workers install what that names; add them there"
            )
        return {}
    for dependency in dependencies or ():
        if not isinstance(dependency, str) or not re.match(r"[A-Za-z0-9][^\n\r]*$", dependency):
            raise InvalidOptionError(f"a dependency must be like 'numpy>=2', not {dependency!r}")
    lines = "".join(f"    {json.dumps(text)},\n" for text in sorted(set(dependencies or ())))
    text = (
        "[build-system]\n"
        'requires = ["setuptools>=61"]\n'
        'build-backend = "setuptools.build_meta"\n\n'
        "[project]\n"
        f"name = {json.dumps(_project_name(name))}\n"
        'version = "0.1.0"\n'
        'requires-python = ">=3.9"\n'
        f"dependencies = [\n{lines}]\n\n"
        "[tool.setuptools]\n"
        "py-modules = []\n"
    )
    return {"pyproject.toml": text.encode()}


def _project_name(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9]+", "-", name).strip("-") or "application"


# --- what its owner should know -------------------------------------------------------------------


def _warn(folder: Path, contents: FolderContents) -> None:
    if contents.private:
        _tell(
            f"the package of {folder} leaves out what looks like passwords and keys: "
            f"{_some(contents.private)}; to send one, add a line such as "
            f"!/{contents.private[0]} to .flameignore; to leave it out in silence, the line without"
            " the exclamation mark"
        )
    if contents.odd:
        _tell(
            f"the package of {folder} leaves out links and other things that are no plain files: "
            f"{_some(contents.odd)}; to leave them out in silence, name them in .flameignore"
        )
    sizes = {path: (folder / path).lstat().st_size for path in contents.files}
    total = sum(sizes.values())
    if total > LARGE_BYTES:
        largest = sorted(sizes, key=lambda path: -sizes[path])[:3]
        texts = ", ".join(f"{path} ({_in_mib(sizes[path])})" for path in largest)
        _tell(
            f"the package of {folder} is large: {_in_mib(total)} in {len(sizes)} files, of which "
            f"the largest are {texts}; what workers do not need can be named in .flameignore"
        )


def _tell(text: str) -> None:
    warnings.warn(text, PackageWarning, stacklevel=6)


def _some(paths: Sequence[str]) -> str:
    more = len(paths) - _SHOWN
    return ", ".join(paths[:_SHOWN]) + (f", and {more} more" if more > 0 else "")


def _in_mib(size_bytes: int) -> str:
    return f"{size_bytes / 2**20:.1f} MiB"


# --- the archive ----------------------------------------------------------------------------------


def _digest(folder: Path, digests: dict[str, bytes], extra: dict[str, bytes]) -> str:
    whole = hashlib.sha256(_FORMAT)
    for path, digest in digests.items():
        whole.update(f"{path}\0{_mode(folder / path):o}\0".encode("utf-8", "surrogateescape"))
        whole.update(digest)
    for path, data in extra.items():
        whole.update(f"{path}\0".encode() + hashlib.sha256(data).digest())
    return whole.hexdigest()[:16]


def _digests_of(folder: Path, contents: FolderContents) -> dict[str, bytes]:
    return {path: _digest_of(folder, path) for path in contents.files}


def _digest_of(folder: Path, path: str) -> bytes:
    digest = hashlib.sha256()
    try:
        with open(folder / path, "rb") as file:
            while chunk := file.read(_CHUNK_BYTES):
                digest.update(chunk)
    except OSError as error:
        raise ClusterError(
            f"{path} cannot be read for the package: {error.strerror}; leave it out with a line "
            "in .flameignore",
            FlameErrorCode.INVALID_CONFIG,
        ) from error
    return digest.digest()


def _mode(file: Path) -> int:
    """Return the mode in the archive: who may read it here does not matter there."""
    return 0o755 if file.lstat().st_mode & stat.S_IXUSR else 0o644


def _destination(folder: Path) -> Path:
    """Return the folder for archives: `dist`, or a new one if that cannot be written."""
    dist = folder / DIST
    try:
        dist.mkdir(exist_ok=True)
        if os.access(dist, os.W_OK):
            return dist
    except OSError:
        pass
    return Path(tempfile.mkdtemp(prefix="flame-package-"))


def _digest_inside(path: Path) -> str | None:
    """Return the digest of what an archive was made of; None if there is none, or not of ours."""
    try:
        with tarfile.open(path, "r:gz") as archive:
            archive.next()
            return archive.pax_headers.get("comment")
    except (OSError, EOFError, tarfile.TarError):
        return None


def _write(
    folder: Path, digests: dict[str, bytes], extra: dict[str, bytes], digest: str, path: Path
) -> None:
    """Write the archive beside its place, then put it there: nobody ever sees half of it."""
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with (
            open(handle, "wb") as raw,
            # No name and no time in it, so that equal folders make equal bytes.
            gzip.GzipFile("", "wb", fileobj=raw, mtime=0, compresslevel=6) as zipped,
            tarfile.open(
                fileobj=zipped, mode="w", format=tarfile.PAX_FORMAT, pax_headers={"comment": digest}
            ) as archive,
        ):
            for name, expected in digests.items():
                _add(archive, name, folder / name, expected)
            for name, data in extra.items():
                archive.addfile(_header(name, len(data), 0o644), io.BytesIO(data))
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except BaseException:
        with suppress(OSError):
            os.unlink(temporary)
        raise


def _add(archive: tarfile.TarFile, name: str, file: Path, expected: bytes) -> None:
    with open(file, "rb") as content:
        size = os.fstat(content.fileno()).st_size
        reader = _Hashing(content)
        try:
            archive.addfile(_header(name, size, _mode(file)), reader)  # type: ignore[arg-type]
        except OSError as error:  # shorter by now
            raise _changed(name) from error
        if reader.digest.digest() != expected:
            raise _changed(name)


def _header(name: str, size: int, mode: int) -> tarfile.TarInfo:
    header = tarfile.TarInfo(name)
    header.size, header.mode, header.mtime = size, mode, 0
    return header


def _changed(name: str) -> ClusterError:
    return ClusterError(
        f"{name} changed while it was packed; try again, or leave it out with a line in "
        ".flameignore",
        FlameErrorCode.INVALID_CONFIG,
    )


class _Hashing:
    """Reads a file and notes what was read."""

    def __init__(self, file: io.BufferedReader) -> None:
        self._file = file
        self.digest = hashlib.sha256()

    def read(self, size: int) -> bytes:
        data = self._file.read(size)
        self.digest.update(data)
        return data
