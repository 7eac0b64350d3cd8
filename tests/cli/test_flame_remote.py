"""`flame-remote`: a cluster comes up, is looked at, and goes down; the machine is examined."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from .conftest import Commands


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the cluster of these tests keeps what it has, apart from that of the user."""
    folder = tmp_path_factory.mktemp("flame")
    (folder / "run").mkdir()
    return folder


def commands_at(place: Path, programs: Path) -> Commands:
    places = {"XDG_DATA_HOME": str(place / "data"), "XDG_RUNTIME_DIR": str(place / "run")}
    return Commands(programs, place, places)


@pytest.fixture(scope="module")
def endpoint(place: Path, programs: Path) -> Iterator[str]:
    """A cluster that runs, on free ports."""
    commands = commands_at(place, programs)
    ended = commands("flame-remote", "up", "--port", "0", "--cache-port", "0", "--json")
    try:
        assert (ended.status, ended.error) == (0, "")
        yield ended.json["endpoint"]
    finally:
        commands("flame-remote", "down")


@pytest.fixture
def commands(place: Path, programs: Path) -> Commands:
    return commands_at(place, programs)


def test_without_a_cluster_status_says_how_to_start_one(commands: Commands) -> None:
    for command in ("status", "logs"):
        ended = commands("flame-remote", command)
        assert (ended.status, ended.output) == (3, "")
        assert "`flame-remote up` starts " in ended.error
        assert ended.error.count("\n") == 1
    assert commands("flame-remote", "status", "--json").json == {"running": False}
    assert commands("flame-remote", "down").status == 0


def test_status_shows_where_the_cluster_is_and_what_is_on_it(
    commands: Commands, endpoint: str, place: Path
) -> None:
    ended = commands("flame-remote", "status")
    assert (ended.status, ended.error) == (0, "")
    lines = dict(line.split(":", 1) for line in ended.output.splitlines())
    shown = {label: value.strip() for label, value in lines.items()}
    assert shown.pop("Object cache").startswith("grpc://127.0.0.1:")
    assert shown.pop("Process").isdecimal()
    assert shown == {
        "Endpoint": endpoint,
        "Data": str(place / "data" / "flame-remote"),
        "State": "serving",
        "Sessions": "0 open",
        "Tasks": "0 pending, 0 running",
        "Instances": "0",
    }


def test_a_second_cluster_is_refused(commands: Commands, endpoint: str) -> None:
    ended = commands("flame-remote", "up", "--port", "0")
    assert (ended.status, ended.output) == (1, "")
    assert ended.error.startswith(f"flame-remote up: a cluster is running at {endpoint} (pid ")


def test_logs_are_listed_and_shown(commands: Commands, endpoint: str) -> None:
    listed = commands("flame-remote", "logs", "--list").output.splitlines()
    assert listed[0].split() == ["Name", "Bytes", "Path"]
    names = [line.split()[0] for line in listed[1:]]
    assert "session-manager" in names
    for command in ("logs", "logs session"):
        ended = commands("flame-remote", *command.split())
        assert (ended.status, ended.error) == (0, "")
        assert endpoint in ended.output
    ended = commands("flame-remote", "logs", "nope")
    assert ended.status == 2
    assert ended.error.startswith("flame-remote logs: there is no log 'nope'; there are session-")


def test_ctrl_c_ends_a_command_that_waits_without_a_word(commands: Commands, endpoint: str) -> None:
    process = commands.start("flame-remote", "logs", "session-manager", "-f")
    with process:
        assert process.stdout is not None
        assert endpoint in process.stdout.readline()
        os.killpg(process.pid, signal.SIGINT)
        _, error = process.communicate()
    assert (process.returncode, error) == (-signal.SIGINT, "")


def test_the_doctor_finds_the_cluster(commands: Commands, endpoint: str) -> None:
    ended = commands("flame-remote", "doctor", "--endpoint", endpoint, "--json")
    assert ended.status == 0
    checks = {one.pop("name"): one for one in ended.json["checks"]}
    assert ended.json["ok"] is True
    assert checks["cluster"] == {"state": "ok", "text": f"1 node at {endpoint} (from --endpoint)"}
    assert checks["embedded engine"]["text"].startswith("first result after ")


def test_the_doctor_tells_a_problem_by_its_exit_code(commands: Commands) -> None:
    here = {"FLAME_ENDPOINT": "http://127.0.0.1:1"}
    ended = commands("flame-remote", "doctor", env=here)
    assert (ended.status, ended.error) == (1, "")
    assert ended.output.splitlines()[-1].startswith(
        "problem  cluster          no Flame cluster answers at http://127.0.0.1:1 (from FLAME_"
    )
    assert "\x1b" not in ended.output
    coloured = commands("flame-remote", "doctor", env={**here, "FORCE_COLOR": "1"}).output
    assert coloured.splitlines()[-1].startswith("\x1b[31mproblem \x1b[0m cluster ")


def test_following_a_log_ends_with_the_cluster(
    commands: Commands, place: Path, programs: Path, tmp_path: Path
) -> None:
    (tmp_path / "run").mkdir()
    mine = commands_at(tmp_path, programs)
    assert mine("flame-remote", "up", "--port", "0", "--cache-port", "0").status == 0
    with mine.start("flame-remote", "logs", "-f") as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "==> session-manager <==\n"
        assert mine("flame-remote", "down").status == 0
        assert process.wait() == 0
        assert process.stderr is not None
        assert process.stderr.read() == ""
    assert mine("flame-remote", "status").status == 3
    assert mine("flame-remote", "logs").status == 0  # they are still there
