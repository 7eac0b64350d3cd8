"""This package as an archive, as workers unpack it."""

from __future__ import annotations

import hashlib
import importlib.util
import io
import zipfile
from functools import lru_cache
from pathlib import Path
from typing import Final

_PACKAGE: Final = Path(__file__).parent.parent
# What no worker needs: the other engines, the servers and what people type.
_LEFT_OUT: Final = frozenset(
    {"_local", "_server", "_dashboard", "_cli", "__main__.py", "testing", "testing.py"}
)
# What stock workers lack and our code uses; plain Python suffices of it.
_EXTRAS: Final = ("wrapt",)
_MOMENT: Final = (1980, 1, 1, 0, 0, 0)  # the earliest a zip can say: equal content, equal bytes


@lru_cache(maxsize=1)
def archive() -> tuple[str, bytes]:
    """Return the digest of the archive's content, and the archive. Reads the files once.

    It holds two folders: `package`, which goes to the front of a worker's path, and `extras`, which
    goes to its end.
    """
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as package:
        for name, file in sorted(_files().items()):
            entry = zipfile.ZipInfo(name, _MOMENT)
            package.writestr(entry, file.read_bytes(), zipfile.ZIP_DEFLATED)
    data = stream.getvalue()
    return hashlib.blake2b(data, digest_size=16).hexdigest(), data


def _files() -> dict[str, Path]:
    files: dict[str, Path] = {}
    for file in _PACKAGE.rglob("*.py"):
        path = file.relative_to(_PACKAGE)
        if path.parts[0] not in _LEFT_OUT:
            files[f"package/{_PACKAGE.name}/{path.as_posix()}"] = file
    for extra in _EXTRAS:
        spec = importlib.util.find_spec(extra)
        for folder in (spec.submodule_search_locations or ()) if spec is not None else ():
            for file in Path(folder).rglob("*.py"):
                files[f"extras/{extra}/{file.relative_to(folder).as_posix()}"] = file
    return files
