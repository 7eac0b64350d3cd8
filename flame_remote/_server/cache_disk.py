"""The object cache's storage folder: `<application>/<session>/<object>.arrow`, and patches beside.

Each file is an Arrow IPC file. A client on the same machine may write one, too, and tell nobody.
"""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import pyarrow as pa

from flame_remote.core import native
from flame_remote.core.object_key import EVERY_SESSION, ObjectKey
from flame_remote.core.payload import PATCH

from . import cached_object
from .cached_object import CachedObject

# A backslash is in no key, so this is no application's folder.
_UNFINISHED: Final = "\\unfinished"
_SUFFIX: Final = ".arrow"
_PATCHES_SUFFIX: Final = ".deltas"


class CacheDisk:
    """Objects as files. A file appears whole, by renaming; nothing is synced for a power failure.

    Not thread-safe as far as one key is concerned: the store calls `publish` and `detach` with its
    lock held. Raises OSError.
    """

    def __init__(self, folder: str) -> None:
        """Use the folder, which is made if need be, for this user only."""
        self._root = Path(folder)
        self._unfinished = self._root / _UNFINISHED
        self._root.mkdir(mode=0o700, parents=True, exist_ok=True)
        shutil.rmtree(self._unfinished, ignore_errors=True)
        self._unfinished.mkdir(mode=0o700)

    # --- writing ---

    def stage(self, schema: pa.Schema, batches: tuple[pa.RecordBatch, ...]) -> Path:
        """Write a file that is nobody's yet."""
        path = self._unfinished / str(uuid.uuid4())
        try:
            with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, schema) as writer:
                for batch in batches:
                    writer.write_batch(batch)
        except BaseException:
            path.unlink(missing_ok=True)
            raise
        return path

    def publish(self, key: ObjectKey, made: CachedObject, staged: Path) -> None:
        """Make the file that of an object, or that of its last patch if it has any.

        Patches of what was there before are gone.
        """
        if made.patches:
            folder = self._patches(key)
            folder.mkdir(mode=0o700, exist_ok=True)
            staged.replace(folder / f"{made.version}{_SUFFIX}")
            return
        path = self._file(key)
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        staged.replace(path)
        shutil.rmtree(self._patches(key), ignore_errors=True)

    def detach(self, pattern: ObjectKey) -> list[Path]:
        """Take the files of all objects under the pattern away at once; `destroy` frees them."""
        if pattern.object_id is not None:
            doomed = [self._file(pattern), self._patches(pattern)]
        elif pattern.session == EVERY_SESSION:
            doomed = [self._root / pattern.application]
        else:
            doomed = [self._root / pattern.application / pattern.session]
        detached = []
        for path in doomed:
            target = self._unfinished / str(uuid.uuid4())
            with suppress(FileNotFoundError):
                detached.append(path.rename(target))
        return detached

    def destroy(self, detached: list[Path]) -> None:
        """Free the disk space of what was detached."""
        for path in detached:
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)

    # --- reading ---

    def size_of(self, key: ObjectKey) -> int | None:
        """Return about how many bytes an object has on disk, None if it is not there."""
        try:
            return os.stat(self._file(key)).st_size
        except FileNotFoundError:
            return None

    def all_keys(self) -> Iterator[ObjectKey]:
        """Yield the keys of all objects that are there."""
        for path in self._root.glob(f"*/*/*{_SUFFIX}"):
            application, session, name = path.relative_to(self._root).parts
            with suppress(ValueError):  # a file of somebody else's
                yield ObjectKey.parse_object(
                    f"{application}/{session}/{name.removesuffix(_SUFFIX)}"
                )

    def load(self, key: ObjectKey) -> CachedObject | None:
        """Read an object, None if it is not there. Raises pa.ArrowInvalid: a file is broken."""
        try:
            table = _read(self._file(key))
        except FileNotFoundError:
            return None
        if native.is_native(table.schema):
            version = native.version_of(table.schema) or 1  # 0: written by a client
            return cached_object.of_table(version, table.schema, table.to_batches())
        base = cached_object.of_bytes(_version_in(table) or 1, _data_in(table))
        return self._with_patches(base, self._patches(key))

    def _with_patches(self, base: CachedObject, folder: Path) -> CachedObject:
        """Add the patches that follow the base; older ones are left from before it was put."""
        batches: list[pa.RecordBatch] = []
        size = base.size
        while True:
            version = base.base_version + len(batches) + 1
            try:
                data = _data_in(_read(folder / f"{version}{_SUFFIX}"))
            except (FileNotFoundError, NotADirectoryError):
                break
            batches.append(cached_object.row(version, PATCH, data))
            size += data.size
        return CachedObject(base.schema, base.base, tuple(batches), base.base_version, size)

    # --- places ---

    def _file(self, key: ObjectKey) -> Path:
        return self._root / key.application / key.session / f"{key.object_id}{_SUFFIX}"

    def _patches(self, key: ObjectKey) -> Path:
        return self._root / key.application / key.session / f"{key.object_id}{_PATCHES_SUFFIX}"


def _read(path: Path) -> pa.Table:
    with pa.OSFile(str(path), "rb") as file, pa.ipc.open_file(file) as reader:
        return reader.read_all()


def _version_in(table: pa.Table) -> int:
    version: Any = table.column("version")[0].as_py()
    return int(version)


def _data_in(table: pa.Table) -> pa.Buffer:
    """Return the bytes of all rows, joined if there are several."""
    pieces = [scalar.as_buffer() for scalar in table.column("data")]
    return pieces[0] if len(pieces) == 1 else pa.py_buffer(b"".join(pieces))
