"""Which files are analysed, and in which groups."""

from __future__ import annotations

import os
import sysconfig
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

GROUP_BYTES = 150_000  # of source text per task: some hundredths of a second of work
LEAST_GROUPS = 16  # where there are so many files, so that little text is shared out too

# Tests and their data are no part of what people import; other people's packages neither.
NOT_LIBRARY = frozenset({"site-packages", "dist-packages", "test", "tests", "idle_test"})


@dataclass(frozen=True)
class SourceFile:
    """A file of Python source; `module` is the name to import it by, `shown` the one to print."""

    path: str
    module: str
    shown: str
    size: int

    @property
    def is_package(self) -> bool:
        """Whether it is the `__init__.py` of a package."""
        return os.path.basename(self.path) == "__init__.py"


@dataclass
class Sources:
    """What was found: files, and what could not be looked at, with the reason."""

    title: str
    files: list[SourceFile]
    unreadable: dict[str, str]

    @property
    def size(self) -> int:
        """How many bytes all files have."""
        return sum(file.size for file in self.files)

    def groups(self) -> list[list[SourceFile]]:
        """Divide the files into groups of similar size, those with the largest files first."""
        groups: list[list[SourceFile]] = []
        room = 0
        for file in sorted(self.files, key=lambda file: (-file.size, file.path)):
            if room <= 0:
                groups.append([])
                room = min(GROUP_BYTES, self.size // LEAST_GROUPS)
            groups[-1].append(file)
            room -= file.size
        return groups


def standard_library() -> Sources:
    """Find the running Python's own library, without its tests."""
    root = Path(sysconfig.get_path("stdlib"))
    title = f"the standard library of Python {sysconfig.get_python_version()}"
    found = _collect(title, [root], NOT_LIBRARY)
    found.files = [
        replace(file, shown=str(Path(file.path).relative_to(root))) for file in found.files
    ]
    return found


def sources_at(paths: list[str]) -> Sources:
    """Find the Python files at these paths: files, and folders with all that is in them."""
    return _collect(", ".join(paths), [Path(path) for path in paths], frozenset())


def _collect(title: str, paths: Iterable[Path], left_out: frozenset[str]) -> Sources:
    found = Sources(title, [], {})
    seen: set[str] = set()
    for path in paths:
        base = _import_root(path)
        for file in _python_files(path, left_out, found.unreadable):
            real = os.path.realpath(file)
            if real not in seen:
                seen.add(real)
                _add(found, file, base)
    return found


def _import_root(path: Path) -> Path:
    """Return the folder from which a file, or what is in a folder, is imported."""
    base = _plain(path).parent if path.is_file() else _plain(path)
    while (base / "__init__.py").is_file():
        base = base.parent
    return base


def _plain(path: Path) -> Path:
    """Return an absolute path without `..` in it; links stay as they are."""
    return Path(os.path.abspath(path))


def _add(found: Sources, file: Path, base: Path) -> None:
    module = ".".join(_plain(file).relative_to(base).with_suffix("").parts).removesuffix(
        ".__init__"
    )
    try:
        size = file.stat().st_size
    except OSError as error:
        found.unreadable[str(file)] = error.strerror or str(error)
        return
    found.files.append(SourceFile(str(file), module, str(file), size))


def _python_files(
    path: Path, left_out: frozenset[str], unreadable: dict[str, str]
) -> Iterator[Path]:
    """Walk through a folder in a fixed order; hidden folders and links to folders stay out."""

    def note(error: OSError) -> None:
        unreadable[str(error.filename)] = error.strerror or str(error)

    if path.is_file():
        yield path
        return
    for folder, folders, names in os.walk(path, onerror=note):
        folders[:] = sorted(
            name for name in folders if name not in left_out and not name.startswith((".", "__"))
        )
        for name in sorted(names):
            file = Path(folder, name)
            if name.endswith(".py") and file.is_file():  # a pipe of that name would block
                yield file
