"""Packages of applications: fetched, unpacked, put on the path; and what is said if not."""

from __future__ import annotations

import io
import sys
import tarfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from flame_remote.core.cache_address import CacheAddress
from flame_remote.core.cache_client import CacheClient
from flame_remote.core.flight import close_connections, connection_to
from flame_remote.core.payload import payload_of_bytes
from flame_remote.testing import LocalCluster, local_cluster
from tests.server.client import PROGRAM, ROOT, Client, failure_of

pytestmark = pytest.mark.usefixtures("arrow")

PYPROJECT = '[project]\nname = "x"\nversion = "0"\ndependencies = {}\n'
IMPORT = b"run:__import__('mine').VALUE"


@pytest.fixture(scope="module")
def cluster() -> Iterator[LocalCluster]:
    with local_cluster(bind_attempts=1, warm=False) as cluster:
        yield cluster


def package(path: Path, files: dict[str, str]) -> Path:
    with tarfile.open(path, "w:gz") as archive:
        for name, text in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(text.encode())
            archive.addfile(info, io.BytesIO(text.encode()))
    return path


def simple(path: Path, value: int, module: str = "mine.py", dependencies: str = "[]") -> Path:
    pyproject = PYPROJECT.format(dependencies)
    return package(path, {"pyproject.toml": pyproject, module: f"VALUE = {value}"})


@contextmanager
def application(client: Client, name: str, url: str) -> Iterator[str]:
    """Register an application with a package, and open a session of the same name."""
    client.register(
        name,
        command=sys.executable,
        arguments=[str(PROGRAM)],
        env={"PYTHONPATH": str(ROOT)},
        installer="python",
        url=url,
    )
    client.open(name, name)
    yield name
    client.shut(name)
    client.unregister(name)


def test_modules_at_the_top_and_below_src_can_be_imported(client: Client, tmp_path: Path) -> None:
    for name, module in [("top", "mine.py"), ("below-src", "src/mine.py")]:
        path = simple(tmp_path / f"{name}.tar.gz", 7, module)
        with application(client, name, f"file://{path}") as session:
            assert client.invoke(session, IMPORT) == b"7"
            assert client.invoke(session, b"env:FLAME_PYTHON_VERSION") == (
                "{}.{}".format(*sys.version_info[:2]).encode()
            )


def test_a_dependency_that_is_installed_is_not_installed_again(
    client: Client, tmp_path: Path
) -> None:
    path = simple(
        tmp_path / "p.tar.gz", 7, dependencies='["grpcio>=1", "nope; python_version<\'3\'"]'
    )
    with application(client, "dependent", f"file://{path}") as session:
        assert client.invoke(session, IMPORT) == b"7"


def test_new_content_behind_the_same_url_is_used_after_a_new_registration(
    client: Client, tmp_path: Path
) -> None:
    path = tmp_path / "p.tar.gz"
    for value in (1, 2):
        simple(path, value)
        with application(client, "again", f"file://{path}") as session:
            assert client.invoke(session, IMPORT) == b"%d" % value


def test_a_failure_does_not_stick(client: Client, tmp_path: Path) -> None:
    path = tmp_path / "late.tar.gz"
    with application(client, "late", f"file://{path}") as session:
        task = client.end_of(session, client.send(session, IMPORT))
        assert "application installation failed" in failure_of(task)
        assert f"{path}: No such file" in failure_of(task)
        assert "return_code 10" in client.session(session).status.events[0].message
        simple(path, 3)
        assert client.invoke(session, IMPORT) == b"3"


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ({"mine.py": ""}, "none of pyproject.toml"),
        ({"pyproject.toml": "[project", "mine.py": ""}, "pyproject.toml: "),
        ({"pyproject.toml": "", "../evil": ""}, "'../evil' leads out"),
        (
            {"pyproject.toml": PYPROJECT.format('["no-such-thing @ file:///nowhere"]')},
            "pip cannot install no-such-thing",
        ),
    ],
    ids=["no-project", "malformed", "outside", "pip"],
)
def test_a_package_that_cannot_be_installed_is_told_with_the_reason(
    client: Client, tmp_path: Path, files: dict[str, str], words: str
) -> None:
    path = package(tmp_path / "p.tar.gz", files)
    with application(client, "bad", f"file://{path}") as session:
        task = client.end_of(session, client.send(session, IMPORT))
        assert words in failure_of(task)


def test_a_link_in_a_package_is_refused_by_its_name(client: Client, tmp_path: Path) -> None:
    path = tmp_path / "p.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        info = tarfile.TarInfo("passwords")
        info.type, info.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(info)
    with application(client, "linked", f"file://{path}") as session:
        task = client.end_of(session, client.send(session, IMPORT))
        assert "'passwords' is a link (to '/etc/passwd')" in failure_of(task)


def test_a_package_comes_from_the_object_cache(
    client: Client, cluster: LocalCluster, tmp_path: Path
) -> None:
    data = simple(tmp_path / "p.tar.gz", 5).read_bytes()
    cache = CacheClient(connection_to(CacheAddress(cluster.cache_endpoint)))
    cache.put("cached/pkg/p.tar.gz", payload_of_bytes([data[:50], data[50:]]), 10)
    url = f"{cluster.cache_endpoint}/cached/pkg/p.tar.gz"
    with application(client, "cached", url) as session:
        assert client.invoke(session, IMPORT) == b"5"
    with application(client, "missing", f"{url}x") as session:
        task = client.end_of(session, client.send(session, IMPORT))
        assert "cached/pkg/p.tar.gzx" in failure_of(task)
    close_connections()


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


def test_a_package_comes_over_http(client: Client, tmp_path: Path) -> None:
    simple(tmp_path / "p.tar.gz", 6)
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(tmp_path)))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        base = f"http://127.0.0.1:{server.server_port}"
        with application(client, "http", f"{base}/p.tar.gz") as session:
            assert client.invoke(session, IMPORT) == b"6"
        with application(client, "http404", f"{base}/q.tar.gz") as session:
            task = client.end_of(session, client.send(session, IMPORT))
            assert "404" in failure_of(task)
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.mark.parametrize("url", ["ftp://x/y.tar.gz", "nonsense"])
def test_an_unknown_kind_of_address_is_refused(client: Client, url: str) -> None:
    with application(client, "unknown", url) as session:
        task = client.end_of(session, client.send(session, IMPORT))
        assert "unknown kind of address; known are file://, http://" in failure_of(task)
