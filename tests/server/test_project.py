"""Dependencies are read from pyproject.toml."""

from __future__ import annotations

from pathlib import Path

import pytest

from flame_remote._server.project import ProjectError, dependencies_of


def test_dependencies_of_the_project_are_returned(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text('[project]\nname="x"\ndependencies=["a>=1", "b"]\n')
    assert dependencies_of(tmp_path) == ["a>=1", "b"]


@pytest.mark.parametrize("text", [None, "", "[project]\nname='x'\n"])
def test_there_may_be_none(tmp_path: Path, text: str | None) -> None:
    if text is not None:
        (tmp_path / "pyproject.toml").write_text(text)
    assert dependencies_of(tmp_path) == []


@pytest.mark.parametrize("text", ["[project", "[project]\ndependencies='a'\n", "project = 1\n"])
def test_a_wrong_one_is_told_with_its_name(tmp_path: Path, text: str) -> None:
    (tmp_path / "pyproject.toml").write_text(text)
    with pytest.raises(ProjectError, match=r"pyproject\.toml"):
        dependencies_of(tmp_path)
