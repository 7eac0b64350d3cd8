"""Where packages lie: folders and web servers; the object cache is tested on a cluster."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from flame_remote.core.context import FlameContext
from flame_remote.exceptions import ClusterError, ClusterTimeoutError, FlameErrorCode
from flame_remote.runner import storage
from flame_remote.runner.storage import Storage, storage_of


def storage_at(url: str | None) -> Storage:
    return storage_of(FlameContext(package_storage=url), "app")


@pytest.fixture
def package(tmp_path: Path) -> Path:
    file = tmp_path / "app.tar.gz"
    file.write_bytes(bytes(range(256)) * 1000)
    return file


# --- folders --------------------------------------------------------------------------------------


def test_a_folder_keeps_packages_under_their_names(tmp_path: Path, package: Path) -> None:
    folder = tmp_path / "sto rage"
    folder.mkdir()
    there = storage_at(f"file://{folder}")
    assert there.upload(package, "app-1.tar.gz") == f"file://{tmp_path}/sto%20rage/app-1.tar.gz"
    assert (folder / "app-1.tar.gz").read_bytes() == package.read_bytes()
    there.delete("app-1.tar.gz")
    there.delete("app-1.tar.gz")
    assert list(folder.iterdir()) == []


def test_a_package_that_is_in_the_folder_is_not_copied_again(tmp_path: Path, package: Path) -> None:
    (tmp_path / "app-1.tar.gz").write_text("there")
    storage_at(f"file://{tmp_path}").upload(package, "app-1.tar.gz")
    assert (tmp_path / "app-1.tar.gz").read_text() == "there"


def test_a_copy_that_fails_half_way_leaves_nothing(
    tmp_path: Path, package: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "storage"
    folder.mkdir()

    def write_half(source: Any, target: Any) -> None:
        target.write(source.read(10))
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(storage.shutil, "copyfileobj", write_half)
    with pytest.raises(ClusterError, match=r"cannot upload the package .*: no space left on devi"):
        storage_at(f"file://{folder}").upload(package, "app-1.tar.gz")
    assert list(folder.iterdir()) == []


def test_a_folder_that_is_not_there_is_named_with_where_it_came_from(tmp_path: Path) -> None:
    context = FlameContext(
        package_storage=f"file://{tmp_path}/missing",
        origins={"package_storage": "~/.flame/flame.yaml: contexts[0].package.storage"},
    )
    with pytest.raises(ClusterError) as caught:
        storage_of(context, "app")
    assert str(caught.value) == (
        f"storage directory does not exist: {tmp_path}/missing (from ~/.flame/flame.yaml: "
        "contexts[0].package.storage); create it, on this machine and on every worker, or choose "
        "another storage"
    )
    assert caught.value.code is FlameErrorCode.INVALID_CONFIG


@pytest.mark.parametrize(
    ("url", "text"),
    [
        ("s3://bucket/x", "its scheme 's3' is none of file://, grpc://, grpcs://, http://, https:"),
        ("/var/packages", "a folder is written file:///var/packages"),
        ("http:///x", "must be like https://host/folder"),
        ("http://host/x?y=1", "without '?' and '#'"),
    ],
)
def test_a_storage_that_is_none_is_refused(url: str, text: str) -> None:
    with pytest.raises(ClusterError) as caught:
        storage_at(url)
    assert text in str(caught.value)
    assert caught.value.code is FlameErrorCode.INVALID_CONFIG


# --- web servers ----------------------------------------------------------------------------------


class Server(ThreadingHTTPServer):
    """A web server that keeps what is put there; `mood` says how it answers to PUT."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.files: dict[str, bytes] = {}
        self.requests: list[str] = []
        self.mood = "good"

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/packages/"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def handle_one_request(self) -> None:
        super().handle_one_request()
        self.close_connection = True

    def do_HEAD(self) -> None:
        data = self.server.files.get(self.path)
        self.answer(404 if data is None else 200, 0 if data is None else len(data))

    def do_PUT(self) -> None:
        size = int(self.headers["Content-Length"])
        if self.server.mood == "hang up":
            self.server.files[self.path] = self.rfile.read(10)
            self.close_connection = True
            return
        self.server.files[self.path] = self.rfile.read(size)
        self.answer(507 if self.server.mood == "full" else 201)

    def do_DELETE(self) -> None:
        status = 204 if self.server.files.pop(self.path, None) is not None else 404
        self.answer(403 if self.server.mood == "no delete" else status)

    def answer(self, status: int, length: int = 0) -> None:
        self.server.requests.append(f"{self.command} {status}")
        self.send_response(status)
        self.send_header("Content-Length", str(length))
        self.end_headers()

    def log_message(self, *arguments: Any) -> None: ...


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def test_a_web_server_keeps_packages(server: Server, package: Path) -> None:
    there = storage_at(server.url)
    url = there.upload(package, "app-1.tar.gz")
    assert url == f"{server.url}app-1.tar.gz"
    assert server.files == {"/packages/app-1.tar.gz": package.read_bytes()}
    assert there.upload(package, "app-1.tar.gz") == url
    assert server.requests == ["HEAD 404", "PUT 201", "HEAD 200"]  # sent once
    there.delete("app-1.tar.gz")
    there.delete("app-1.tar.gz")
    assert server.files == {}


def test_half_a_package_on_the_server_is_replaced(server: Server, package: Path) -> None:
    server.files["/packages/app-1.tar.gz"] = b"half"
    storage_at(server.url).upload(package, "app-1.tar.gz")
    assert server.files["/packages/app-1.tar.gz"] == package.read_bytes()


@pytest.mark.parametrize(
    ("mood", "text"),
    [
        ("full", r"cannot upload the package to http.*: the server answered 507 Insufficient Stor"),
        ("hang up", "cannot upload the package to http"),
    ],
)
def test_an_upload_that_fails_leaves_nothing(
    server: Server, package: Path, mood: str, text: str
) -> None:
    server.mood = mood
    with pytest.raises(ClusterError, match=text):
        storage_at(server.url).upload(package, "app-1.tar.gz")
    assert server.files == {}


def test_a_server_that_refuses_to_delete_is_told(server: Server, package: Path) -> None:
    server.mood = "no delete"
    with pytest.raises(ClusterError, match=r"cannot delete the package .* answered 403 Forbidden"):
        storage_at(server.url).delete("app-1.tar.gz")


def test_no_server_is_told(server: Server, package: Path) -> None:
    with Server() as gone:
        url = gone.url
    with pytest.raises(ClusterError, match=r"cannot look for the package .*: connection refused"):
        storage_at(url).upload(package, "app-1.tar.gz")


def test_a_server_that_never_answers_is_given_up(
    package: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import socket

    monkeypatch.setattr(storage, "SHORT_SECONDS", 0.05)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with pytest.raises(ClusterTimeoutError, match=r"no answer within 0\.05 s"):
            storage_at(url).upload(package, "app-1.tar.gz")
