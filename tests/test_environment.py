"""What users may write as `runtime_env`, and where modules are then looked for."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from flame_remote._environment import Environment, checked_environment
from flame_remote.exceptions import InvalidOptionError


def checked(**fields: Any) -> Environment | None:
    return checked_environment("runtime_env", fields)


def test_nothing_is_the_environment_of_the_main_program() -> None:
    assert checked_environment("runtime_env", None) is None
    assert checked() is None
    assert checked(env_vars={}, py_modules=[], working_dir=None) is None


def test_equal_ones_are_equal_however_they_are_written() -> None:
    one = checked(env_vars={"A": "1", "B": "2"}, working_dir=".")
    other = checked(env_vars={"B": "2", "A": "1"}, working_dir=Path.cwd())
    assert one == other
    assert hash(one) == hash(other)


def test_an_unknown_field_is_refused_with_the_known_ones() -> None:
    with pytest.raises(InvalidOptionError) as caught:
        checked(pip=["numpy"])
    assert str(caught.value) == (
        "runtime_env has no field 'pip'; fields: env_vars, working_dir, py_modules"
    )


@pytest.mark.parametrize(
    ("fields", "complaint"),
    [
        ({"env_vars": ["A=1"]}, r"runtime_env\['env_vars'\] must be a dict of strings"),
        ({"env_vars": {"A": 1}}, r"but has str \('A'\): int \(1\)"),
        ({"working_dir": 3}, r"runtime_env\['working_dir'\] must be a path, not int"),
        ({"py_modules": "here"}, r"runtime_env\['py_modules'\] must be a list of paths"),
        ({"py_modules": [os]}, r"must be a path, not module"),
    ],
)
def test_a_field_of_the_wrong_type_is_named(fields: dict[str, Any], complaint: str) -> None:
    with pytest.raises(TypeError, match=complaint):
        checked(**fields)
    with pytest.raises(TypeError, match="runtime_env must be a dict"):
        checked_environment("runtime_env", "A=1")


@pytest.mark.parametrize("name", ["", "A=B", "A\0"])
def test_a_variable_that_cannot_be_is_refused(name: str) -> None:
    with pytest.raises(InvalidOptionError, match="no variable can be"):
        checked(env_vars={name: "1"})


def test_what_is_not_there_is_refused_by_name(tmp_path: Path) -> None:
    Environment(folder=str(tmp_path), modules=(str(tmp_path),)).check("f")
    with pytest.raises(InvalidOptionError, match=r"f: working_dir '.*gone' is not a folder"):
        Environment(folder=str(tmp_path / "gone")).check("f")
    with pytest.raises(InvalidOptionError, match=r"f: '.*gone' in py_modules does not exist"):
        Environment(modules=(str(tmp_path / "gone"),)).check("f")


def test_one_inside_another_says_more_and_takes_over_the_rest() -> None:
    outer = Environment((("A", "1"), ("B", "1")), "/outer", ("/m",))
    inner = Environment((("B", "2"), ("C", "2")))
    assert inner.inside(outer) == Environment(
        (("A", "1"), ("B", "2"), ("C", "2")), "/outer", ("/m",)
    )
    assert inner.inside(None) is inner
    assert Environment(folder="/inner").inside(outer).folder == "/inner"


def test_a_package_and_a_file_are_found_in_their_folder_and_a_folder_of_modules_is_one(
    tmp_path: Path,
) -> None:
    package, file, folder = tmp_path / "a" / "package", tmp_path / "b" / "one.py", tmp_path / "c"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    file.parent.mkdir()
    file.touch()
    folder.mkdir()
    modules = tuple(map(str, (package, file, folder, package)))
    assert Environment(folder="/work", modules=modules).path() == [
        "/work",
        str(tmp_path / "a"),
        str(tmp_path / "b"),
        str(tmp_path / "c"),
    ]
