"""Instances get the environment that Flame's executors give."""

from __future__ import annotations

from pathlib import Path

import pytest

from flame_remote._proto import types_pb2
from flame_remote._server.environment import Installed, Surroundings, expand, program_of
from flame_remote._server.logs import InstanceLogs
from flame_remote._server.processes import Program


@pytest.fixture
def surroundings(tmp_path: Path) -> Surroundings:
    return Surroundings(
        inherited={"HOME": "/home/me", "PATH": "/bin", "PYTHONPATH": "/ours", "FLAME_HOME": "/fh"},
        told={"FLAME_ENDPOINT": "http://here", "FLAME_LOG": "info"},
        work=tmp_path / "work",
        logs=InstanceLogs(tmp_path / "logs"),
    )


def program(
    surroundings: Surroundings, installed: Installed | None = None, **spec: object
) -> Program:
    environments = spec.pop("env", {})
    assert isinstance(environments, dict)
    message = types_pb2.ApplicationSpec(command="prog", **spec)  # type: ignore[arg-type]
    for name, value in environments.items():
        message.environments.add(name=name, value=value)
    installed = installed or Installed()
    return program_of("app", message, surroundings, installed, "i1", Path("/sockets/i1.sock"))


def test_it_inherits_adds_the_application_s_own_and_cannot_change_what_is_told(
    surroundings: Surroundings,
) -> None:
    env = program(surroundings, env={"A": "${HOME}/a", "FLAME_ENDPOINT": "http://evil"}).env
    assert env["HOME"] == "/home/me"
    assert env["A"] == "/home/me/a"
    assert env["FLAME_ENDPOINT"] == "http://here"
    assert env["FLAME_INSTANCE_ENDPOINT"] == "/sockets/i1.sock"


def test_command_and_arguments_are_expanded_and_unknown_variables_stay(
    surroundings: Surroundings,
) -> None:
    spec = {"arguments": ["$A", "python${V}", "${UNKNOWN}", "cost: $5"], "env": {"A": "1"}}
    installed = Installed(variables={"V": "3.11"})
    argv = program(surroundings, installed, **spec).argv
    assert argv == ["prog", "1", "python3.11", "${UNKNOWN}", "cost: $5"]


def test_what_a_package_brings_comes_before_the_application_s_own_paths(
    surroundings: Surroundings,
) -> None:
    installed = Installed(paths={"PATH": "/deps/bin", "PYTHONPATH": "/deps:/src"})
    env = program(surroundings, installed, env={"PYTHONPATH": "/app"}).env
    assert env["PATH"] == "/deps/bin:/bin"
    assert env["PYTHONPATH"] == "/deps:/src:/app"
    assert program(surroundings, installed).env["PYTHONPATH"] == "/deps:/src"


def test_without_a_working_directory_an_instance_has_a_folder_of_its_own(
    surroundings: Surroundings, tmp_path: Path
) -> None:
    started = program(surroundings)
    assert started.cwd == str(tmp_path / "work" / "i1")
    assert Path(started.env["TMPDIR"]).is_dir()
    assert started.env["TMPDIR"] == started.env["TEMP"] == f"{started.cwd}/work/app/tmp"


def test_a_working_directory_is_made_if_it_is_not_there(
    surroundings: Surroundings, tmp_path: Path
) -> None:
    folder = tmp_path / "a" / "b"
    started = program(surroundings, working_directory=str(folder), env={"TMPDIR": "/t"})
    assert started.cwd == str(folder)
    assert folder.is_dir()
    assert started.env["TMPDIR"] == "/t"


def test_the_first_source_that_has_a_variable_counts() -> None:
    assert expand("$A ${B}", {"A": "1"}, {"A": "2", "B": "3"}) == "1 3"
