"""Which files of a folder go into a package."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

from flame_remote.exceptions import ClusterError, FlameErrorCode

from .private_files import private_files

if TYPE_CHECKING:
    import pathspec

DIST: Final = "dist"  # where packages are made
IGNORE_FILES: Final = (".gitignore", ".flameignore")  # the second has the last word
_EXCLUDES: Final = (
    f"/{DIST}/",
    ".venv",
    "venv",
    "__pycache__",
    ".pytest_cache",
    ".ruff_cache",
    ".mypy_cache",
    ".hypothesis",
    "*.egg-info",
    ".git",
    ".hg",
    ".svn",
    ".tox",
    ".nox",
    "node_modules",
    "*.pyc",
    "*.pyo",
    ".DS_Store",
)


@dataclass
class FolderContents:
    """What of a folder goes into a package, and what stays behind although nobody excluded it.

    Paths are relative to the folder, with slashes, in alphabetical order. `private` look like
    passwords and keys; `odd` are links, sockets, pipes and devices.
    """

    files: list[str] = field(default_factory=list)
    private: list[str] = field(default_factory=list)
    odd: list[str] = field(default_factory=list)


def check_folder(folder: Path) -> None:
    """Refuse folders that are no project.

    Raises:
        ClusterError: INVALID_CONFIG; it is the home folder, or contains it.
    """
    folder, home = folder.resolve(), Path.home().resolve()
    if folder == home or folder in home.parents:
        what = "your home folder" if folder == home else f"{folder}, which is not one project"
        raise ClusterError(
            f"a Runner packs the current folder, and that is {what}: change to the folder of your "
            "project first",
            FlameErrorCode.INVALID_CONFIG,
        )


def contents_of(folder: Path, excludes: Sequence[str] = ()) -> FolderContents:
    """Choose the files of a folder that go into a package. Follows no links.

    Left out is what everybody leaves out (caches, environments, `dist`), what `excludes` names,
    and what .gitignore and .flameignore files name, in the folder itself and in those below it;
    `excludes` are patterns as in these files. "!name" in a .flameignore takes a file in again, even
    one that looks private.

    Raises:
        ClusterError: INVALID_CONFIG; a folder or an ignore file cannot be read, or a pattern is
            none.
    """
    contents = FolderContents()
    always = _Rules("", _spec([*_EXCLUDES, *excludes], "package.excludes"))
    private = private_files()
    for path, mode, rules in _walk(folder, "", [always]):
        verdict = _verdict(rules, path)
        if verdict is None and private.match_file(path):
            contents.private.append(path)
        elif stat.S_ISREG(mode):
            contents.files.append(path)
        elif not stat.S_ISDIR(mode):
            contents.odd.append(path)
    return contents


@dataclass(frozen=True)
class _Rules:
    """Patterns that hold below a folder, `prefix` ("" or "sub/folder/")."""

    prefix: str
    spec: pathspec.GitIgnoreSpec


def _walk(
    folder: Path, prefix: str, rules: Sequence[_Rules]
) -> Iterator[tuple[str, int, Sequence[_Rules]]]:
    """Yield path, mode and rules of everything that is not excluded.

    A folder that looks private is yielded itself, with a slash at its end; others are entered.
    """
    rules = [*rules, *_rules_of(folder, prefix)]
    for entry in _entries(folder):
        path = prefix + entry.name
        mode = entry.stat(follow_symlinks=False).st_mode
        if not stat.S_ISDIR(mode):
            if not _verdict(rules, path):
                yield path, mode, rules
        elif (verdict := _verdict(rules, path + "/")) is not True:
            if verdict is None and private_files().match_file(path + "/"):
                yield path + "/", mode, rules
            else:
                yield from _walk(folder / entry.name, path + "/", rules)


def _verdict(rules: Sequence[_Rules], path: str) -> bool | None:
    """Say whether a path is excluded: True, False if it was taken in again, None if unmentioned."""
    for rule in reversed(rules):  # the innermost folder has the last word
        include = rule.spec.check_file(path[len(rule.prefix) :]).include
        if include is not None:
            return include
    return None


def _rules_of(folder: Path, prefix: str) -> list[_Rules]:
    """Read the ignore files of a folder."""
    lines: list[str] = []
    for name in IGNORE_FILES:
        file = folder / name
        if file.is_symlink() or not file.is_file():
            continue
        try:
            lines += file.read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise _unreadable(prefix + name, error) from error
    return [_Rules(prefix, _spec(lines, f"{prefix}.gitignore or .flameignore"))] if lines else []


def _spec(lines: Sequence[str], origin: str) -> pathspec.GitIgnoreSpec:
    import pathspec  # only for who packs something

    try:
        return pathspec.GitIgnoreSpec.from_lines(lines)
    except ValueError as error:
        raise ClusterError(
            f"{origin} has a pattern that is none: {error}", FlameErrorCode.INVALID_CONFIG
        ) from error


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return sorted(entries, key=lambda entry: entry.name)
    except OSError as error:
        raise _unreadable(f"the folder {folder}", error) from error


def _unreadable(what: str, error: Exception) -> ClusterError:
    reason = getattr(error, "strerror", None) or str(error)
    return ClusterError(
        f"{what} cannot be read for the package: {reason}; leave it out with a line in "
        ".flameignore",
        FlameErrorCode.INVALID_CONFIG,
    )
