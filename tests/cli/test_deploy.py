"""`flmctl deploy`: what is told from the files, what options change, and that the thing runs."""

from __future__ import annotations

import sys
import tarfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from flame_remote.core.connection import Connection
from flame_remote.core.context import FlameContext
from flame_remote.core.sessions import create_session
from flame_remote.testing import LocalCluster, local_cluster

from .conftest import ROOT, Inside

# An application of one file. It writes what it was started with, then serves.
MAIN = """\
import os, sys
sys.path.insert(0, os.environ["SERVICE_PATH"])
from flame_remote._server.flmping import PingService
from flame_remote._server.service import serve
print(sys.argv[1:], os.environ["WORD"], flush=True)
serve(PingService())
"""
PROFILE = """\
metadata:
  name: my-app
spec:
  description: Answers
  arguments: [one]
  environments: {WORD: profile, OTHER: kept}
"""


@pytest.fixture(scope="module")
def cluster() -> Iterator[LocalCluster]:
    with local_cluster() as running:
        yield running


@pytest.fixture
def inside(tmp_path: Path, capsys: pytest.CaptureFixture[str], cluster: LocalCluster) -> Inside:
    return Inside(tmp_path, capsys, cluster.environment)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "project"
    (folder / "my_app").mkdir(parents=True)
    (folder / "my_app" / "__main__.py").write_text(MAIN)
    (folder / "pyproject.toml").write_text('[project]\nname = "my-app"\nversion = "1"\n')
    (folder / "flame.yaml").write_text(PROFILE)
    (folder / ".env").write_text("PASSWORD=secret\n")
    return folder


def test_a_folder_is_packed_stored_registered_and_runs(
    inside: Inside, folder: Path, cluster: LocalCluster
) -> None:
    python = folder.parent / "bin" / "python"  # the one on PATH may lack what the service imports
    python.parent.mkdir()
    python.write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    python.chmod(0o755)
    variables = {"WORD": "option", "SERVICE_PATH": str(ROOT), "PATH": str(python.parent)}
    options = ["--label", "mine"]
    for name, value in variables.items():
        options += ["--env", f"{name}={value}"]
    before = sorted(folder.rglob("*"))
    ended = inside("flmctl", "deploy", "--application", str(folder), *options)
    assert ended.status == 0
    assert ended.error.startswith(f"flmctl deploy: the package of {folder} leaves out what looks ")
    lines = [line.split(None, 1) for line in ended.output.splitlines()]
    assert lines[:3] == [
        ["Application:", "my-app"],
        ["Installer:", "python"],
        ["Command:", "python -m my_app one"],
    ]
    assert [label for label, _ in lines[3:]] == ["Package:", "URL:"]
    assert lines[4][1].startswith(f"{cluster.cache_endpoint}/my-app/pkg/my-app-")
    assert sorted(folder.rglob("*")) == before
    values = inside("flmctl", "view", "-a", "my-app", "--json").json
    assert (values["labels"], values["description"]) == (["mine"], "Answers")
    assert values["environments"] == {**variables, "OTHER": "kept"}
    with closing(Connection(FlameContext.load(cluster.endpoint))) as connection:
        session = create_session("my-app", connection=connection)
        assert b"Completed on" in (session.invoke(b"{}", timeout=30) or b"")
        session.close()
    assert "['one'] option\n" in cluster.logs()
    again = inside("flmctl", "deploy", "--application", str(folder))
    assert (again.status, again.output) == (1, "")
    assert "application 'my-app' already exists; `flmctl unregister -a my-app`" in again.error


def test_a_dry_run_stores_and_registers_nothing(inside: Inside, folder: Path) -> None:
    (folder / ".env").unlink()
    command = ["deploy", "--application", str(folder), "--name", "dry", "--command", "sh"]
    ended = inside("flmctl", *command, "--dry-run", "-o", "json")
    assert (ended.status, ended.error) == (0, "")
    assert (ended.json["command"], ended.json["url"], ended.json["dry_run"]) == ("sh", None, True)
    assert inside("flmctl", "view", "-a", "dry").status == 4


def test_an_archive_is_stored_as_it_is(inside: Inside, folder: Path) -> None:
    archive = folder.parent / "it.tgz"
    with tarfile.open(archive, "w:gz") as file:
        file.add(folder / "my_app", "my_app")
    ended = inside("flmctl", "deploy", "--application", str(archive), "--name", "my-app.2")
    assert ended.status == 2  # my_app_2 is not in it
    assert "the application has no command: give --command" in ended.error
    command = ["deploy", "--application", str(archive), "--name", "packed", "--command", "sh"]
    values = inside("flmctl", *command, "--json").json
    assert (values["installer"], values["package_bytes"]) == ("binary", archive.stat().st_size)
    assert inside("flmctl", "unregister", "-a", "packed").status == 0


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (
            "--application nowhere",
            "--application must be a folder or a .tar.gz archive; nowhere is",
        ),
        ("--application empty", "the application has no name: give --name, or add flame.yaml to e"),
        ("--application empty --env x", "invalid value for '--env': 'x' is not NAME=VALUE"),
        ("--application bad.tar.gz --name x", "cannot read bad.tar.gz: "),
        ("--application two", "two/flame.yaml must describe one application, not 2"),
    ],
)
def test_what_cannot_be_deployed_is_told_in_one_line(
    inside: Inside, arguments: str, said: str, tmp_path: Path
) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "two").mkdir()
    (tmp_path / "two" / "flame.yaml").write_text(f"{PROFILE}---\n{PROFILE}")
    (tmp_path / "bad.tar.gz").write_bytes(b"no archive")
    ended = inside("flmctl", "deploy", *arguments.split())
    assert (ended.status, ended.output) == (2, "")
    assert ended.error.startswith("flmctl deploy: ")
    assert said in ended.error
    assert ended.error.count("\n") == 1
