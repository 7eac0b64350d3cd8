"""Calls that run in an environment of their own: variables, working folder, modules."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import flame_remote as flame

from ..conftest import leaving_nothing_behind
from .helpers import gate
from .local_engines import only_embedded


@pytest.fixture(scope="module", autouse=True)
def nothing_is_left_behind() -> Iterator[None]:
    yield from leaving_nothing_behind()


@pytest.fixture(scope="module", params=["inline", "embedded"])
def engine(request: pytest.FixtureRequest, nothing_is_left_behind: None) -> Iterator[str]:
    """Run the tests on an engine with two CPUs, all of whose calls have the variable WHERE."""
    if flame.is_initialized():  # the one on Flame, of other files
        flame.shutdown()
    environment = {"env_vars": {"WHERE": "everywhere"}}
    with flame.init(engine=request.param, num_cpus=2, runtime_env=environment):
        yield request.param


@flame.remote
def look(*names: str) -> list[str | None]:
    return [os.environ.get(name) for name in names]


def variables(**pairs: str) -> dict[str, Any]:
    return {"env_vars": pairs}


def package(folder: Path, name: str, text: str) -> str:
    """Write a package with one line in it; return its path."""
    path = folder / name
    path.mkdir(parents=True)
    (path / "__init__.py").write_text(text)
    return str(path)


def test_variables_are_those_of_the_call_within_those_of_the_session(engine: str) -> None:
    one = look.options(runtime_env=variables(NAME="one"))
    other = look.options(runtime_env=variables(NAME="other", WHERE="here"))
    refs = [function.remote("NAME", "WHERE") for function in (one, other, look, one)]
    assert flame.get(refs) == [
        ["one", "everywhere"],
        ["other", "here"],
        [None, "everywhere"],
        ["one", "everywhere"],
    ]
    assert "NAME" not in os.environ
    assert "WHERE" not in os.environ


def test_a_call_runs_in_its_folder_and_imports_from_it(engine: str, tmp_path: Path) -> None:
    (tmp_path / "module_in_the_folder.py").write_text("VALUE = 'found'")
    (tmp_path / "data.txt").write_text("data")

    @flame.remote(runtime_env={"working_dir": tmp_path})
    def work() -> tuple[str, str, str]:
        import module_in_the_folder  # type: ignore[import-not-found]

        return os.getcwd(), Path("data.txt").read_text(), module_in_the_folder.VALUE

    before = os.getcwd()
    assert flame.get(work.remote()) == (str(tmp_path), "data", "found")
    assert os.getcwd() == before


@only_embedded
def test_modules_of_one_environment_do_not_leak_into_another(engine: str, tmp_path: Path) -> None:
    versions = [package(tmp_path / n, "versioned_package", f"VERSION = {n}") for n in ("1", "2")]

    @flame.remote
    def version() -> int | None:
        try:
            import versioned_package  # type: ignore[import-not-found]
        except ImportError:
            return None
        return int(versioned_package.VERSION)

    functions = [version.options(runtime_env={"py_modules": [path]}) for path in versions]
    for _ in range(2):
        assert flame.get([f.remote() for f in (*functions, version)]) == [1, 2, None]


def test_an_actor_lives_in_its_environment(engine: str) -> None:
    @flame.remote(runtime_env=variables(NAME="actor"))
    class Looker:
        def __init__(self) -> None:
            self.at_first = os.environ["NAME"]

        def look(self) -> tuple[str, str]:
            return self.at_first, os.environ["NAME"]

    assert flame.get(Looker.remote().look.remote()) == ("actor", "actor")


def test_what_a_call_starts_is_in_its_environment(engine: str) -> None:
    @flame.remote
    def parent() -> list[list[str | None]]:
        deeper = look.options(runtime_env=variables(DEEP="er"))
        return flame.get([look.remote("NAME", "DEEP"), deeper.remote("NAME", "DEEP")])

    refs = parent.options(runtime_env=variables(NAME="parent")).remote()
    assert flame.get(refs) == [["parent", None], ["parent", "er"]]


def test_items_of_a_generator_are_made_in_its_environment(engine: str) -> None:
    @flame.remote(runtime_env=variables(NAME="generator"))
    def names() -> Iterator[str | None]:
        yield os.environ.get("NAME")

    refs: Any = names.remote()
    assert [flame.get(ref) for ref in refs] == ["generator"]


def test_a_folder_that_is_not_there_is_an_error_at_the_call(engine: str, tmp_path: Path) -> None:
    gone = str(tmp_path / "gone")
    with pytest.raises(flame.InvalidOptionError, match=r"look: working_dir '.*gone' is not"):
        look.options(runtime_env={"working_dir": gone}).remote()
    with pytest.raises(flame.InvalidOptionError, match=r"look: '.*gone' in py_modules does not"):
        look.options(runtime_env={"py_modules": [gone]}).remote()


def test_unknown_fields_are_refused_by_name(engine: str) -> None:
    with pytest.raises(flame.InvalidOptionError, match="runtime_env has no field 'pip'; fields: "):
        look.options(runtime_env={"pip": ["numpy"]})


@only_embedded
def test_a_folder_that_goes_before_its_process_starts_is_named(engine: str, tmp_path: Path) -> None:
    folder = tmp_path / "soon gone"
    folder.mkdir()
    there = gate()
    ref = look.options(runtime_env={"working_dir": folder}).remote(there.wait.remote("WHERE"))
    folder.rmdir()
    there.open.remote()
    with pytest.raises(flame.WorkerStartError, match=r"working_dir .* No such file .*soon gone"):
        flame.get(ref)
    folder.mkdir()
    assert flame.get(look.options(runtime_env={"working_dir": folder}).remote()) == []
