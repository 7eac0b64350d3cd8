"""The package: what is in it, when it is made, and what its owner is told."""

from __future__ import annotations

import os
import tarfile
import warnings
from pathlib import Path
from typing import Any

import pytest

import flame_remote as flame
from flame_remote.exceptions import ClusterError
from flame_remote.runner import package as package_module
from flame_remote.runner.package import (
    Package,
    PackageWarning,
    build_package,
    digest_of_folder,
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    project = tmp_path / "project"
    (project / "sub").mkdir(parents=True)
    (project / "main.py").write_text("print('main')\n")
    (project / "sub" / "data.txt").write_text("data\n")
    (project / "run.sh").write_text("#!/bin/sh\n")
    (project / "run.sh").chmod(0o700)
    return project


def members(package: Package) -> dict[str, bytes]:
    with tarfile.open(package.path) as archive:
        read: dict[str, bytes] = {}
        for member in archive:
            content = archive.extractfile(member)
            assert content is not None
            read[member.name] = content.read()
        return read


def test_a_package_holds_the_files_and_says_how_to_install_them(folder: Path) -> None:
    package = build_package(folder, "my app", dependencies=["numpy>=2", "attrs"])
    assert package.path == folder / "dist" / "my app.tar.gz"
    assert package.size_bytes == package.path.stat().st_size
    content = members(package)
    assert list(content) == ["main.py", "run.sh", "sub/data.txt", "pyproject.toml"]
    assert content["sub/data.txt"] == b"data\n"
    text = content["pyproject.toml"].decode()
    assert 'name = "my-app"' in text
    assert 'dependencies = [\n    "attrs",\n    "numpy>=2",\n]' in text
    assert "py-modules = []" in text


def test_headers_tell_nothing_about_this_machine(folder: Path) -> None:
    with tarfile.open(build_package(folder, "app").path) as archive:
        for member in archive:
            assert (member.uid, member.gid, member.uname, member.gname) == (0, 0, "", "")
            assert member.mtime == 0
            assert member.mode == (0o755 if member.name == "run.sh" else 0o644)


def test_equal_folders_make_equal_bytes_and_one_name(folder: Path) -> None:
    first = build_package(folder, "app")
    before = first.path.read_bytes()
    first.remove()
    os.utime(folder / "main.py", (1, 1))
    second = build_package(folder, "app")
    assert second.path.read_bytes() == before
    assert second.stored_name == first.stored_name == f"app-{first.digest}.tar.gz"
    assert digest_of_folder(folder, "app") == first.digest


@pytest.mark.parametrize("change", ["content", "name", "mode", "new", "dependency"])
def test_a_change_makes_another_name(folder: Path, change: str) -> None:
    first = build_package(folder, "app")
    if change == "content":
        (folder / "main.py").write_text("print('moin')\n")
    elif change == "name":
        (folder / "main.py").rename(folder / "moin.py")
    elif change == "mode":
        (folder / "main.py").chmod(0o755)
    elif change == "new":
        (folder / "sub" / "new.txt").touch()
    dependencies = ["numpy"] if change == "dependency" else None
    second = build_package(folder, "app", dependencies=dependencies)
    assert second.digest != first.digest
    assert second.path == first.path


def test_a_package_that_is_there_is_not_made_again(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = build_package(folder, "app")
    inode = first.path.stat().st_ino
    assert build_package(folder, "app") == first
    assert first.path.stat().st_ino == inode
    first.path.write_bytes(b"something else")
    build_package(folder, "app")
    assert "main.py" in members(first)


def test_removing_a_package_leaves_nothing_behind(folder: Path) -> None:
    package = build_package(folder, "app")
    package.remove()
    package.remove()
    assert not (folder / "dist").exists()
    package = build_package(folder, "app")
    (folder / "dist" / "other").touch()
    package.remove()
    assert [path.name for path in (folder / "dist").iterdir()] == ["other"]


@pytest.mark.parametrize("own", ["pyproject.toml", "setup.py", "setup.cfg"])
def test_a_folder_that_says_how_to_install_it_is_taken_as_it_is(folder: Path, own: str) -> None:
    (folder / own).write_text("")
    assert list(members(build_package(folder, "app"))).count(own) == 1
    assert "pyproject.toml" not in members(build_package(folder, "app")) or own == "pyproject.toml"
    with pytest.raises(flame.InvalidOptionError) as caught:
        build_package(folder, "app", dependencies=["numpy"])
    assert f"would have no effect: this folder has a {own}" in str(caught.value)


@pytest.mark.parametrize("dependency", ["", "-r x", 3, 'numpy\n"', None])
def test_a_dependency_that_is_none_is_refused(folder: Path, dependency: Any) -> None:
    with pytest.raises(flame.InvalidOptionError, match="a dependency must be like"):
        build_package(folder, "app", dependencies=[dependency])


def test_what_is_left_out_is_told_with_the_way_to_change_that(folder: Path) -> None:
    (folder / ".env").write_text("PASSWORD=1\n")
    (folder / "link").symlink_to("main.py")
    with pytest.warns(PackageWarning) as told:
        package = build_package(folder, "app")
    private, links = (str(warning.message) for warning in told)
    assert "leaves out what looks like passwords and keys: .env" in private
    assert "add a line such as !/.env to .flameignore" in private
    assert "leaves out links and other things that are no plain files: link" in links
    assert not {".env", "link"} & set(members(package))
    (folder / ".flameignore").write_text("!/.env\nlink\n")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert members(build_package(folder, "app"))[".env"] == b"PASSWORD=1\n"


def test_a_large_package_is_told_with_what_makes_it_large(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(package_module, "LARGE_BYTES", 1024 * 1024)
    (folder / "big.bin").write_bytes(bytes(2 * 1024 * 1024))
    with pytest.warns(PackageWarning, match=r"is large: 2\.0 MiB in 4 files.* big\.bin \(2\.0 MiB"):
        build_package(folder, "app")


def test_a_file_that_is_gone_meanwhile_is_named(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    choose = package_module.contents_of

    def choose_and_remove(*arguments: Any) -> Any:
        contents = choose(*arguments)
        (folder / "main.py").unlink()
        return contents

    monkeypatch.setattr(package_module, "contents_of", choose_and_remove)
    monkeypatch.setattr(package_module, "_warn", lambda *_: None)
    with pytest.raises(ClusterError, match=r"main\.py cannot be read for the package: No such fil"):
        build_package(folder, "app")


def test_a_file_that_changes_meanwhile_is_noticed(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = package_module._write

    def change_and_write(*arguments: Any) -> None:
        (folder / "main.py").write_text("print('changed')\n")
        write(*arguments)

    monkeypatch.setattr(package_module, "_write", change_and_write)
    with pytest.raises(ClusterError, match=r"main\.py changed while it was packed"):
        build_package(folder, "app")
    assert list((folder / "dist").iterdir()) == []


def test_odd_file_names_survive(folder: Path) -> None:
    names = ["with space", "ümlaut", "n" * 200, "line\nbreak"]
    for name in names:
        (folder / name).write_text(name)
    content = members(build_package(folder, "app"))
    assert [content[name].decode() for name in names] == names
