"""Starting, finding and ending clusters; who may use them."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest

from flame_remote._server import cluster as clusters
from flame_remote._server.cluster import ClusterConfig, ClusterStartError, start
from flame_remote.testing import local_cluster
from tests.server.client import Client, refusal_of

TOKEN = "0123456789abcdef0123456789"


@pytest.fixture
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give the test's user folders of its own, so that a cluster of the user's is left alone."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    return tmp_path


def free_ports(data: Path) -> ClusterConfig:
    return ClusterConfig(data=data, port=0, cache_port=0, warm=False)


def test_up_status_and_down(nowhere: Path) -> None:
    assert clusters.status() is None
    assert clusters.down() is None
    info = clusters.up(free_ports(nowhere / "data"))
    assert clusters.status() == info
    with pytest.raises(ClusterStartError, match=f"a cluster is running at {info.endpoint}"):
        clusters.up(free_ports(nowhere / "other"))
    client = Client(info.endpoint)
    assert "flmrun" in client.applications()
    client.close()
    assert "session-manager.log" in [path.name for path in clusters.log_paths()]
    assert clusters.down() == info
    assert clusters.status() is None
    assert not Path(f"/proc/{info.pid}").exists()


def test_the_record_of_a_cluster_that_was_killed_is_no_cluster(nowhere: Path) -> None:
    record = '{"endpoint": "x", "cache_endpoint": "y", "pid": %d, "data": "z", "started": "1"}'
    (clusters.runtime_folder() / "cluster.json").write_text(record % os.getpid())
    assert clusters.status() is None
    (clusters.runtime_folder() / "cluster.json").write_text("{")
    assert clusters.status() is None


def test_a_folder_that_others_can_write_is_not_trusted(nowhere: Path) -> None:
    (nowhere / "flame-remote").mkdir()
    (nowhere / "flame-remote").chmod(0o777)
    with pytest.raises(ClusterStartError, match="not a private folder"):
        clusters.status()


def test_a_port_that_is_in_use_is_told(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        for config in (
            ClusterConfig(data=tmp_path, port=port, cache_port=0, warm=False),
            ClusterConfig(data=tmp_path, port=0, cache_port=port, warm=False),
        ):
            with pytest.raises(ClusterStartError, match=rf"127\.0\.0\.1:{port}"):
                start(config)


def test_data_that_another_cluster_uses_are_refused(tmp_path: Path) -> None:
    with (
        local_cluster(folder=tmp_path, warm=False),
        pytest.raises(ClusterStartError, match="locked"),
    ):
        start(free_ports(tmp_path))


def test_an_interpreter_that_does_not_run_is_told(tmp_path: Path) -> None:
    for python, words in [("/no/python", "/no/python"), ("/bin/false", "does not run")]:
        with pytest.raises(ClusterStartError, match=words):
            start(ClusterConfig(data=tmp_path, port=0, cache_port=0, python=python, warm=False))


def test_an_address_that_others_reach_needs_token_and_tls(tmp_path: Path) -> None:
    config = ClusterConfig(data=tmp_path, host="0.0.0.0", port=0, cache_port=0, warm=False)
    with pytest.raises(
        ClusterStartError, match="--token-file, --tls-cert, --tls-key must be given"
    ):
        start(config)


@pytest.fixture
def certificate(tmp_path: Path) -> tuple[Path, Path]:
    if shutil.which("openssl") is None:
        pytest.skip("certificates are made with the openssl command")
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    command = (
        "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 "
        f"-subj /CN=localhost -addext subjectAltName=IP:127.0.0.1 -keyout {key} -out {cert}"
    )
    subprocess.run(command.split(), check=True, capture_output=True)
    return cert, key


@pytest.fixture
def secured(certificate: tuple[Path, Path], tmp_path: Path) -> Iterator[clusters.ClusterInfo]:
    token_file = tmp_path / "token"
    token_file.write_text(TOKEN + "\n")
    cert, key = certificate
    running = start(
        ClusterConfig(
            data=tmp_path / "data",
            port=0,
            cache_port=0,
            warm=False,
            token_file=token_file,
            tls_cert=cert,
            tls_key=key,
            tls_ca=cert,
        )
    )
    yield running.info
    running.close()


@pytest.mark.usefixtures("arrow")
def test_with_tls_and_token_only_who_knows_it_is_served(
    secured: clusters.ClusterInfo, certificate: tuple[Path, Path]
) -> None:
    assert secured.endpoint.startswith("https://127.0.0.1:")
    assert secured.cache_endpoint.startswith("grpcs://127.0.0.1:")
    credentials = grpc.ssl_channel_credentials(certificate[0].read_bytes())
    stranger, friend = (
        Client(secured.endpoint, credentials),
        Client(secured.endpoint, credentials, TOKEN),
    )
    status, text = refusal_of(stranger.applications)
    assert (status, "FLAME_TOKEN" in text) == ("UNAUTHENTICATED", True)
    friend.register("program")
    friend.open("s", "program")
    assert friend.invoke("s", b"env:FLAME_TOKEN") == TOKEN.encode()
    assert friend.invoke("s", b"env:FLAME_CA_FILE") == bytes(certificate[0])
    friend.shut("s")
    for client in (stranger, friend):
        client.close()


def test_a_short_token_is_refused(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("abc")
    config = ClusterConfig(
        data=tmp_path, port=0, cache_port=0, warm=False, token_file=tmp_path / "token"
    )
    with pytest.raises(ClusterStartError, match="at least 16 characters"):
        start(config)


@pytest.mark.skipif(os.getuid() != 0, reason="only root can be another user")
def test_another_user_of_the_machine_is_refused() -> None:
    with local_cluster(warm=False) as cluster:
        port = int(cluster.endpoint.rpartition(":")[2])
        # Everything is imported before: other users cannot read this interpreter's files.
        code = (
            "import os, sys; sys.path.insert(0, sys.argv[1]);"
            "import grpc, encodings.idna;"
            "from tests.server.client import Client, refusal_of;"
            "os.setuid(65534);"
            "client = Client(sys.argv[2]);"
            "print(*refusal_of(client.applications), sep='|')"
        )
        root = str(Path(__file__).parent.parent.parent)
        done = subprocess.run(
            [sys.executable, "-c", code, root, f"http://127.0.0.1:{port}"],
            capture_output=True,
            text=True,
            timeout=50,
        )
        assert done.stdout.startswith("PERMISSION_DENIED|this cluster belongs to root"), done.stderr
