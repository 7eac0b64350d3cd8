"""Archives are unpacked if they are plain, and refused whole if they are not."""

from __future__ import annotations

import io
import stat
import tarfile
import zipfile
from pathlib import Path

import pytest

from flame_remote._server.archive import ArchiveError, unpack


def tar_of(path: Path, *members: tarfile.TarInfo, content: bytes = b"content") -> Path:
    with tarfile.open(path, "w:gz") as archive:
        for member in members:
            if member.isreg():
                member.size = len(content)
                archive.addfile(member, io.BytesIO(content))
            else:
                archive.addfile(member)
    return path


def member(name: str, kind: bytes = tarfile.REGTYPE, link: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, link
    return info


def test_files_and_folders_are_unpacked_with_what_may_be_executed(tmp_path: Path) -> None:
    script = member("a/run")
    script.mode = 0o4777
    archive = tar_of(tmp_path / "p", member("a", tarfile.DIRTYPE), script, member("a/b/c.py"))
    unpack(archive, tmp_path / "out")
    assert (tmp_path / "out/a/b/c.py").read_bytes() == b"content"
    assert stat.S_IMODE((tmp_path / "out/a/run").stat().st_mode) & 0o7111 == 0o111


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        (member("x", tarfile.SYMTYPE, "/etc/passwd"), "a link"),
        (member("x", tarfile.LNKTYPE, "good"), "a link"),
        (member("x", tarfile.FIFOTYPE), "neither a file nor a folder"),
        (member("x", tarfile.CHRTYPE), "neither a file nor a folder"),
        (member("/tmp/x"), "absolute"),
        (member("a/../../x"), "leads out"),
        (member(".."), "leads out"),
        (member("good"), "comes twice"),
    ],
    ids=lambda value: getattr(value, "name", value).replace("/", "_"),
)
def test_an_archive_with_one_bad_entry_is_refused_and_nothing_is_left(
    tmp_path: Path, bad: tarfile.TarInfo, words: str
) -> None:
    archive = tar_of(tmp_path / "p", member("good"), bad)
    with pytest.raises(ArchiveError, match=words) as caught:
        unpack(archive, tmp_path / "out")
    assert repr(bad.name) in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_a_zip_is_unpacked_and_its_links_are_refused(tmp_path: Path) -> None:
    archive = tmp_path / "p.zip"
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("pkg/a.py", "x = 1")
    unpack(archive, tmp_path / "out")
    assert (tmp_path / "out/pkg/a.py").read_text() == "x = 1"
    link = zipfile.ZipInfo("link")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr(link, "/etc/passwd")
    with pytest.raises(ArchiveError, match="'link' is a link"):
        unpack(archive, tmp_path / "out2")


@pytest.mark.parametrize("length", [0, 1, 20, 60])
def test_a_truncated_archive_is_refused(tmp_path: Path, length: int) -> None:
    whole = tar_of(tmp_path / "p", member("good"), content=b"content" * 1000).read_bytes()
    cut = tmp_path / "cut"
    cut.write_bytes(whole[:length])
    with pytest.raises(ArchiveError):
        unpack(cut, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_something_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "p").write_text("<html>404</html>")
    with pytest.raises(ArchiveError, match="neither a tar archive nor a zip"):
        unpack(tmp_path / "p", tmp_path / "out")
