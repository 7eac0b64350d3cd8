"""`flmctl` on a local cluster: what each command shows, changes and says when it cannot."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from flame_remote.core.connection import Connection
from flame_remote.core.context import FlameContext
from flame_remote.core.sessions import list_sessions
from flame_remote.testing import LocalCluster, local_cluster

from ..conftest import wait_until
from .conftest import Commands, Ended, Inside

Captured = pytest.CaptureFixture[str]

DESCRIPTION = """\
metadata:
  name: first
spec:
  command: "true"
  labels: [a, b]
---
metadata:
  name: second
spec:
  command: "false"
"""


@pytest.fixture(scope="module")
def cluster() -> Iterator[LocalCluster]:
    with local_cluster() as running:
        yield running


@pytest.fixture
def inside(tmp_path: Path, capsys: pytest.CaptureFixture[str], cluster: LocalCluster) -> Inside:
    return Inside(tmp_path, capsys, cluster.environment)


def check_quiet(ended: Ended) -> None:
    assert (ended.status, ended.output, ended.error) == (0, "", "")


def test_applications_executors_and_nodes_are_listed(inside: Inside) -> None:
    ended = inside("flmctl", "list", "-a")
    assert (ended.status, ended.error) == (0, "")
    head, *rows = ended.output.splitlines()
    assert head == " Name     State    Shim  Tags  Created   Command"
    assert [row.split()[:3] for row in rows] == [
        ["flmexec", "Enabled", "Host"],
        ["flmping", "Enabled", "Host"],
        ["flmrun", "Enabled", "Host"],
    ]
    (node,) = inside("flmctl", "list", "--node", "--json").json
    assert node["state"] == "Ready"
    assert node["capacity"]["cpu"] >= 1
    viewed = inside("flmctl", "view", "-n", node["name"])
    assert viewed.output.startswith(f"Name:          {node['name']}\n")
    assert inside("flmctl", "list", "-e").output.split() == ["ID", "State", "Session", "Node"]


def test_a_session_is_created_viewed_and_closed(inside: Inside) -> None:
    ended = inside("flmctl", "create", "-a", "flmping", "-p", "7", "-r", "cpu=1,mem=512m")
    assert (ended.status, ended.error) == (0, "")
    matched = re.fullmatch(r"Session <(flmping-\w{6})> was created\.\n", ended.output)
    assert matched is not None
    session_id = matched[1]
    viewed = inside("flmctl", "view", "-s", session_id)
    assert re.fullmatch(
        f" Session:        {session_id}\n"
        " Application:    flmping\n"
        " State:          Open\n"
        " Resources:      cpu=1,mem=512Mi,gpu=0\n"
        r" Creation Time:  \d\d:\d\d:\d\d" + "\n"
        " Tasks:          0 pending, 0 running, 0 succeed, 0 failed\n"
        "Events:\n",
        viewed.output,
    )
    closed = inside("flmctl", "close", "-s", session_id)
    assert closed.output == f"Session <{session_id}> was closed.\n"
    # Before and behind the command's name, and -o, mean the same.
    for options in (["--json", "view"], ["view", "--json"], ["view", "-o", "json"]):
        values = inside("flmctl", *options, "-s", session_id).json
        assert (values["state"], values["priority"], values["tasks"]) == ("Closed", 7, [])


def test_applications_are_registered_updated_and_unregistered(inside: Inside) -> None:
    file = inside.home / "apps.yaml"
    file.write_text(DESCRIPTION)
    check_quiet(inside("flmctl", "register", "-f", str(file)))
    again = inside("flmctl", "register", "-f", str(file))
    assert (again.status, again.output) == (1, "")
    assert again.error.startswith(
        f"flmctl register: {file}, line 1: cannot register application 'first': "
    )
    assert "already exists" in again.error
    changed = DESCRIPTION.replace('"true"', "python3").replace("first", "second", 1)
    check_quiet(inside("flmctl", "update", "-a", "-", given=changed.partition("---")[0]))
    values = inside("flmctl", "view", "-a", "second", "--json").json
    assert (values["command"], values["labels"]) == ("python3", ["a", "b"])
    check_quiet(inside("flmctl", "unregister", "-a", "first"))
    check_quiet(inside("flmctl", "unregister", "-a", "second"))
    names = [one["name"] for one in inside("flmctl", "list", "-a", "--json").json]
    assert names == ["flmexec", "flmping", "flmrun"]


@pytest.mark.parametrize(
    "command",
    [
        "view -a nope",
        "view -s nope",
        "view -s nope -t 1",
        "view -n nope",
        "close -s nope",
        "create -a nope",
        "unregister -a nope",
    ],
)
def test_what_is_not_there_is_told_by_name_with_exit_code_4(inside: Inside, command: str) -> None:
    ended = inside("flmctl", *command.split())
    assert (ended.status, ended.output) == (4, "")
    assert ended.error.startswith(f"flmctl {command.split()[0]}: cannot ")
    assert "nope" in ended.error
    assert ended.error.count("\n") == 1


def test_the_head_of_a_list_can_be_taken(
    programs: Path, tmp_path: Path, cluster: LocalCluster
) -> None:
    commands = Commands(programs, tmp_path, cluster.environment)
    ended = commands.shell("flmctl list -s | head -1; echo ${PIPESTATUS[@]}")
    assert ended.error == ""
    head, statuses = ended.output.splitlines()
    assert head.split()[:3] == ["ID", "State", "App"]
    assert statuses in ("0 0", "141 0")  # a short list fits into the pipe


def test_ping_shows_what_each_task_answers(inside: Inside) -> None:
    ended = inside("flmping", "-t", "2", "-d", "1", "-m", "1k", "-c", "text", "-r", "cpu=1")
    assert (ended.status, ended.error) == (0, "")
    first, _, head, *rows, last = ended.output.splitlines()[:6]
    assert re.fullmatch(
        r"Session <flmping-\w{6}> was created in <\d+ ms>, "
        r"start to run <2> tasks in the session:",
        first,
    )
    assert head.split() == ["Session", "Task", "State", "Output"]
    for number, row in enumerate(rows, 1):
        assert row.split()[1:3] == [str(number), "Succeed"]
        assert row.endswith("with <1024> memory")
    assert last == ""
    assert re.search(r"\n<2> tasks was completed in <\d+ ms>\.\n", ended.output)
    (session,) = inside("flmctl", "list", "-s", "--json").json[-1:]
    assert (session["state"], session["task_counts"]["succeed"]) == ("Closed", 2)
    task = inside("flmctl", "view", "-s", session["id"], "-t", "2")
    assert re.fullmatch(
        f"Task:          2\nSession:       {session['id']}\nApplication:   flmping\n"
        r"State:         Succeed\nEvents:\n(  \d\d:\d\d:\d\d\.\d{3}: .* \(\d\)\n)+",
        task.output,
    )


def test_scripts_in_python_are_run_and_fail_alone(inside: Inside) -> None:
    code = "import sys; print(sys.version_info.major); sys.exit(len(sys.stdin.read()))"
    ended = inside("flmexec", "-t", "1", "-l", "python", "-c", code, "-i", "four", "--json")
    assert (ended.status, ended.error) == (1, "flmexec: 1 of 1 tasks failed\n")
    assert (ended.json["failed"], ended.json["tasks"][0]["state"]) == (1, "Failed")
    assert ended.json["tasks"][0]["output"].startswith("the script ended with exit code 4")


def test_tasks_that_take_too_long_are_told(tmp_path: Path, capsys: Captured) -> None:
    with local_cluster() as cluster:  # one of its own, which takes the task with it
        inside = Inside(tmp_path, capsys, cluster.environment)
        ended = inside("flmping", "-t", "1", "-d", "600000", "--wait", "0.1")
    assert ended.status == 124
    assert re.fullmatch(
        r"flmping: 1 of 1 tasks of session flmping-\w+ have not ended after 0\.1 s; "
        r"--wait gives them longer",
        ended.error.splitlines()[-1],
    )


def test_ctrl_c_leaves_a_session_with_a_running_task_and_says_so(
    programs: Path, tmp_path: Path
) -> None:
    with local_cluster() as cluster:
        commands = Commands(programs, tmp_path, cluster.environment)
        with commands.start("flmping", "-t", "1", "-d", "600000") as process:
            with closing(Connection(FlameContext.load(cluster.endpoint))) as connection:
                assert wait_until(
                    lambda: [one.running for one in list_sessions(connection=connection)] == [1]
                )
            os.killpg(process.pid, signal.SIGINT)
            _, error = process.communicate()
    assert process.returncode == -signal.SIGINT
    assert re.fullmatch(
        r"session (flmping-\w+) stays open, as tasks run; when they have ended, "
        r"`flmctl close -s \1` closes it\n",
        error,
    )
