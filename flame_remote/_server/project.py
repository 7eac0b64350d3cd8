"""What a package says about itself in pyproject.toml."""

from __future__ import annotations

import importlib
from pathlib import Path
from types import ModuleType


class ProjectError(Exception):
    """pyproject.toml cannot be read; the text says where."""


def dependencies_of(source: Path) -> list[str]:
    """Return `dependencies` of the table `project`; none if there is no pyproject.toml.

    Raises ProjectError.
    """
    path = source / "pyproject.toml"
    if not path.exists():
        return []
    toml = _toml()
    try:
        document = toml.loads(path.read_text("utf8"))
    except (toml.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ProjectError(f"pyproject.toml: {error}") from error
    project = document.get("project", {})
    dependencies = project.get("dependencies", []) if isinstance(project, dict) else None
    if not isinstance(dependencies, list) or not all(isinstance(d, str) for d in dependencies):
        raise ProjectError(
            "pyproject.toml: expected a list of strings as project.dependencies, "
            f"got {dependencies!r}"
        )
    return dependencies


def _toml() -> ModuleType:
    """Return a parser: the standard library's, before Python 3.11 the one inside pip."""
    for name in ("tomllib", "tomli", "pip._vendor.tomli"):
        try:
            return importlib.import_module(name)
        except ImportError:
            continue
    raise ProjectError(
        "pyproject.toml cannot be read: this Python has no TOML parser; install tomli"
    )
