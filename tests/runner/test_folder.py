"""Which files of a folder go into a package."""

from __future__ import annotations

import os
import string
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flame_remote.exceptions import ClusterError, FlameErrorCode
from flame_remote.runner.folder import FolderContents, check_folder, contents_of
from flame_remote.runner.private_files import private_files


def make(folder: Path, *paths: str, **texts: str) -> None:
    """Make files with something in them; `texts` are ignore files by name without the dot."""
    for path in paths:
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(f"this is {path}")
    for name, text in texts.items():
        (folder / f".{name}").write_text(text)


def files(folder: Path, *excludes: str) -> list[str]:
    return contents_of(folder, excludes).files


def test_files_are_chosen_in_alphabetical_order_from_all_folders(tmp_path: Path) -> None:
    make(tmp_path, "b.py", "a/z.py", "a/b/c.txt", "a.py")
    assert files(tmp_path) == ["a/b/c.txt", "a/z.py", "a.py", "b.py"]


def test_what_everybody_leaves_out_is_left_out(tmp_path: Path) -> None:
    for name in (".venv", "venv", ".git", "node_modules", "x.egg-info", "dist"):
        make(tmp_path, f"{name}/file")
    for name in ("__pycache__", ".pytest_cache", ".ruff_cache", ".mypy_cache", ".tox"):
        make(tmp_path, f"sub/{name}/file")
    make(tmp_path, "a.pyc", "sub/b.pyo", ".DS_Store", "kept.py", "sub/dist/kept.py")
    assert files(tmp_path) == ["kept.py", "sub/dist/kept.py"]


def test_configured_patterns_leave_out(tmp_path: Path) -> None:
    make(tmp_path, "data/a.bin", "b.bin", "sub/data/c.txt", "notes.md", "kept.py")
    assert files(tmp_path, "data/", "*.bin", "/notes.md") == ["kept.py"]


def test_ignore_files_are_honoured_at_every_level(tmp_path: Path) -> None:
    make(tmp_path, "a.log", "sub/b.log", "sub/kept.log", "sub/deep/c.txt", "sub/c.txt", "d.txt")
    make(tmp_path, gitignore="*.log\n# a remark\n")
    make(tmp_path / "sub", gitignore="!kept.log\n/c.txt\n")
    ignore_files = [".gitignore", "sub/.gitignore"]
    assert files(tmp_path) == sorted(
        [*ignore_files, "d.txt", "sub/deep/c.txt", "sub/kept.log"], key=lambda path: path.split("/")
    )


def test_flameignore_has_the_last_word(tmp_path: Path) -> None:
    make(tmp_path, "model.bin", "tests/test_it.py", "kept.py")
    make(tmp_path, gitignore="*.bin\n", flameignore="!model.bin\n/tests/\n.*ignore\n")
    assert files(tmp_path) == ["kept.py", "model.bin"]


PRIVATE = [
    ".env",
    ".env.production",
    "deploy/server.pem",
    "tls.key",
    "id_rsa",
    "backup/id_ed25519",
    ".netrc",
    ".pypirc",
    "sub/credentials.json",
]


def test_what_looks_private_is_left_out_and_named(tmp_path: Path) -> None:
    make(tmp_path, *PRIVATE, ".aws/credentials", "sub/.ssh/config", ".env.example", "id_rsa.pub")
    contents = contents_of(tmp_path)
    assert contents.files == [".env.example", "id_rsa.pub"]
    assert sorted(contents.private) == sorted([*PRIVATE, ".aws/", "sub/.ssh/"])


def test_a_private_file_goes_along_if_its_owner_says_so(tmp_path: Path) -> None:
    make(tmp_path, "server.pem", "other.pem", flameignore="!/server.pem\n/.flameignore\n")
    contents = contents_of(tmp_path)
    assert (contents.files, contents.private) == (["server.pem"], ["other.pem"])


def test_a_private_file_that_is_excluded_is_not_named(tmp_path: Path) -> None:
    make(tmp_path, ".env", "tls.key", gitignore=".env\n/.gitignore\n")
    assert contents_of(tmp_path, ["*.key"]) == FolderContents()


@pytest.fixture
def odd_folder(tmp_path: Path) -> Path:
    folder = tmp_path / "project"
    make(folder, "real.txt", "sub/other.txt")
    make(tmp_path, "outside/secret.txt")
    (folder / "link.txt").symlink_to("real.txt")
    (folder / "loop").symlink_to(folder)
    (folder / "outside").symlink_to(tmp_path / "outside")
    os.mkfifo(folder / "pipe")
    return folder


def test_links_and_pipes_are_not_followed(odd_folder: Path) -> None:
    contents = contents_of(odd_folder)
    assert contents.files == ["real.txt", "sub/other.txt"]
    assert contents.odd == ["link.txt", "loop", "outside", "pipe"]


@pytest.mark.parametrize("where", [".", ".."])
def test_the_home_folder_and_what_is_above_it_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "project").mkdir()
    check_folder(tmp_path / "project")
    with pytest.raises(ClusterError, match="change to the folder of your project first") as caught:
        check_folder(tmp_path / where)
    assert caught.value.code is FlameErrorCode.INVALID_CONFIG


def test_the_root_is_refused() -> None:
    with pytest.raises(ClusterError, match="that is /, which is not one project"):
        check_folder(Path("/"))


def test_an_ignore_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / ".gitignore").write_bytes(b"\xff\xfe\xff")
    with pytest.raises(ClusterError, match=r"sub/\.gitignore cannot be read for the package"):
        contents_of(tmp_path)


def test_a_pattern_that_is_none_is_named(tmp_path: Path) -> None:
    with pytest.raises(ClusterError, match=r"package\.excludes has a pattern that is none"):
        contents_of(tmp_path, ["!"])


names = st.text(string.ascii_lowercase, min_size=1, max_size=2)


@settings(max_examples=30)
@given(st.lists(st.lists(names, min_size=1, max_size=3).map("/".join), max_size=8), names)
def test_a_name_that_is_excluded_is_left_out_wherever_it_is(paths: list[str], name: str) -> None:
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        for path in paths:
            is_free = not any((folder / parent).is_file() for parent in Path(path).parents)
            if is_free and not (folder / path).is_dir():
                make(folder, path)
        everything = files(folder)
        assert files(folder, name) == [path for path in everything if name not in path.split("/")]


@given(st.text(string.ascii_lowercase + "/", max_size=12).filter(lambda text: ".env" not in text))
def test_ordinary_names_do_not_look_private(path: str) -> None:
    assert not private_files().match_file(path + ".py")
