"""A Runner's application on a real cluster of this machine: what is put there, and taken back."""

from __future__ import annotations

import os
import subprocess
import sys
import warnings
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import flame_remote as flame
from flame_remote._flame import owners
from flame_remote.core.application import ApplicationAttributes
from flame_remote.core.applications import (
    get_application,
    list_applications,
    register_application,
    unregister_application,
)
from flame_remote.core.connection import Connection, get_connection
from flame_remote.core.context import FlameContext
from flame_remote.core.object_ref import ObjectRef
from flame_remote.core.objects import delete_objects, download_object, put_object
from flame_remote.core.sessions import create_session
from flame_remote.exceptions import ClusterError, FlameErrorCode
from flame_remote.runner.application import Application
from flame_remote.runner.package import PackageWarning

from ..clusters import detached_cluster


@pytest.fixture(scope="module")
def context() -> Iterator[FlameContext]:
    with detached_cluster() as cluster:
        context = FlameContext.load(
            endpoint=cluster.endpoint, cache_endpoint=cluster.cache_endpoint
        )
        # What is kept per process is there before the first test looks.
        delete_objects("nothing/*", context=context)
        connection = get_connection(context)
        list_applications(connection=connection)
        yield context
        connection.close()


@pytest.fixture
def connection(context: FlameContext) -> Connection:
    return get_connection(context)


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "main.py").write_text("print('main')\n")
    monkeypatch.chdir(folder)
    return folder


def open_application(context: FlameContext, name: str = "app", **options: Any) -> Application:
    defaults = {"fail_if_exists": False, "dependencies": None, "python_version": None}
    return Application.open(context, name, **{**defaults, **options})


def close(application: Application) -> None:
    errors: list[Exception] = []
    application.close(errors, 10.0)
    assert errors == []


def names(connection: Connection) -> set[str]:
    return {application.name for application in list_applications(connection=connection)}


def test_an_application_is_registered_and_taken_back(
    context: FlameContext, connection: Connection, project: Path, tmp_path: Path
) -> None:
    application = open_application(context, python_version="3.12")
    registered = get_application("app", connection=connection)
    template = get_application("flmrun", connection=connection)
    assert registered is not None
    assert template is not None
    assert registered.command == template.command
    assert registered.arguments == template.arguments
    assert registered.description == "Runner application: app"
    assert registered.environments == {**template.environments, "FLAME_PYTHON_VERSION": "3.12"}
    assert registered.installer == "python"
    assert registered.url is not None
    package = ObjectRef(context.cache_endpoint, registered.url.partition("//")[2].partition("/")[2])
    assert (project / "dist" / "app.tar.gz").exists()
    download_object(package, tmp_path / "again.tar.gz", context=context)
    archive = (project / "dist" / "app.tar.gz").read_bytes()
    assert (tmp_path / "again.tar.gz").read_bytes() == archive
    made = put_object("app/session", [1, 2, 3], context=context)
    close(application)
    close(application)
    assert "app" not in names(connection)
    for ref in (package, made):
        with pytest.raises(ClusterError) as caught:
            download_object(ref, tmp_path / "gone", context=context)
        assert caught.value.code is FlameErrorCode.NOT_FOUND
    assert not (project / "dist").exists()


def test_an_application_that_was_there_is_used_and_left(
    context: FlameContext, connection: Connection, project: Path
) -> None:
    register_application("theirs", ApplicationAttributes(command="run"), connection=connection)
    before = get_application("theirs", connection=connection)
    close(open_application(context, "theirs"))
    assert get_application("theirs", connection=connection) == before
    assert not (project / "dist").exists()
    with pytest.raises(ClusterError, match="application 'theirs' already exists at http") as caught:
        open_application(context, "theirs", fail_if_exists=True)
    assert caught.value.code is FlameErrorCode.ALREADY_EXISTS
    assert "fail_if_exists=False" in str(caught.value)
    unregister_application("theirs", connection=connection)


def test_other_files_than_those_of_the_application_that_is_used_are_told(
    context: FlameContext, project: Path
) -> None:
    first = open_application(context)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        open_application(context)
    (project / "main.py").write_text("print('changed')\n")
    with pytest.warns(PackageWarning, match="its workers have other files than this folder"):
        open_application(context)
    with pytest.warns(PackageWarning, match=r"dependencies=\['numpy'\] has no effect"):
        open_application(context, dependencies=["numpy"])
    close(first)


def test_packages_may_lie_in_a_folder(
    context: FlameContext, connection: Connection, tmp_path: Path
) -> None:
    (tmp_path / "storage").mkdir()
    there = replace(context, package_storage=f"file://{tmp_path}/storage")
    application = open_application(there)
    (stored,) = (tmp_path / "storage").iterdir()
    registered = get_application("app", connection=connection)
    assert registered is not None
    assert registered.url == f"file://{stored}"
    close(application)
    assert list((tmp_path / "storage").iterdir()) == []


def test_a_template_that_is_missing_is_told_with_the_way_to_get_it(
    context: FlameContext, project: Path
) -> None:
    without = replace(context, runner_template="no-such")
    with pytest.raises(ClusterError) as caught:
        open_application(without)
    assert "has no application 'no-such', of which a Runner makes a copy" in str(caught.value)
    assert "flmctl register -f FILE" in str(caught.value)
    assert caught.value.code is FlameErrorCode.NOT_FOUND
    assert not (project / "dist").exists()


def test_an_application_that_cannot_be_registered_leaves_nothing_behind(
    context: FlameContext, connection: Connection, project: Path, tmp_path: Path
) -> None:
    (tmp_path / "storage").mkdir()
    there = replace(context, package_storage=f"file://{tmp_path}/storage")
    before = names(connection)
    with pytest.raises(ClusterError):
        open_application(there, "not a name")
    assert names(connection) == before
    assert list((tmp_path / "storage").iterdir()) == []
    assert not (project / "dist").exists()


def test_sessions_that_nobody_closed_are_closed(
    context: FlameContext, connection: Connection
) -> None:
    application = open_application(context)
    create_session("app", connection=connection)
    close(application)
    assert "app" not in names(connection)


def test_what_a_killed_process_has_left_is_removed(
    context: FlameContext, connection: Connection, tmp_path: Path
) -> None:
    (tmp_path / "storage").mkdir()
    (tmp_path / "storage" / "app-old.tar.gz").touch()
    there = replace(context, package_storage=f"file://{tmp_path}/storage")
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    labels = [f"runner.{owners.OWNER}{ended.pid}:1", f"runner.{owners.HOST}{owners.host()}"]
    left = ApplicationAttributes(
        command="run", labels=labels, url=f"file://{tmp_path}/storage/app-old.tar.gz"
    )
    register_application("app", left, connection=connection)
    create_session("app", connection=connection)
    application = open_application(there, fail_if_exists=True)
    registered = get_application("app", connection=connection)
    assert registered is not None
    assert registered.command != "run"
    assert [path.name for path in (tmp_path / "storage").iterdir()] != ["app-old.tar.gz"]
    with pytest.raises(ClusterError, match="already exists"):  # its process is this one
        open_application(there, fail_if_exists=True)
    close(application)
    assert list((tmp_path / "storage").iterdir()) == []


@pytest.mark.parametrize("version", ["3", "latest", "2.7", 3.12])
def test_a_python_version_that_is_none_is_refused(context: FlameContext, version: Any) -> None:
    with pytest.raises(flame.InvalidOptionError, match=r"python_version must be like '3\.12'"):
        open_application(context, python_version=version)


def test_the_home_folder_is_not_packed(
    context: FlameContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", os.getcwd())
    with pytest.raises(ClusterError, match="and that is your home folder"):
        open_application(context)
