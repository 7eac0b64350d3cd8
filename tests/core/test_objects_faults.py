"""Caches that are not there, go away, come back or refuse; forks."""

from __future__ import annotations

import socket
import subprocess
import sys
import uuid
from pathlib import Path

import pytest

from flame_remote.core import flight, objects
from flame_remote.core.context import FlameContext
from flame_remote.core.objects import ObjectRef
from flame_remote.exceptions import (
    ClusterError,
    ClusterTimeoutError,
    ConnectError,
    FlameErrorCode,
)
from tests.caches import ROOT, Cache, running_cache

pytestmark = pytest.mark.usefixtures("arrow")


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have calls not wait for a cache that may come back; a test shows that they do."""
    monkeypatch.setattr(flight, "_PATIENCE_SECONDS", 0.05)


def test_nobody_at_the_endpoint_is_told_with_where_it_came_from(
    impatient: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FLAME_CACHE_ENDPOINT", "grpc://127.0.0.1:1")
    with pytest.raises(ConnectError) as raised:
        objects.put_object("app/session", 1)
    assert "no object cache answers at grpc://127.0.0.1:1 (from FLAME_CACHE_ENDPOINT)" in str(
        raised.value
    )
    with pytest.raises(ConnectError, match="from the ref of a/b/c"):
        objects.get_object(ObjectRef("grpc://127.0.0.1:1", "a/b/c"), context=FlameContext())


def test_an_endpoint_that_is_none_is_refused() -> None:
    with pytest.raises(ClusterError, match="ftp://x") as raised:
        objects.put_object("a/b", 1, context=FlameContext(cache_endpoint="ftp://x"))
    assert raised.value.code == FlameErrorCode.INVALID_CONFIG


def test_a_cache_that_is_silent_is_given_up_in_time() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        context = FlameContext(cache_endpoint=f"grpc://127.0.0.1:{port}")
        with pytest.raises((ClusterTimeoutError, ConnectError), match=f"127.0.0.1:{port}"):
            objects.put_object("a/b", 1, timeout=0.2, context=context)


def test_what_speaks_another_language_is_told_as_such(impatient: None) -> None:
    import http.server
    import threading

    server = http.server.HTTPServer(("127.0.0.1", 0), http.server.BaseHTTPRequestHandler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        context = FlameContext(cache_endpoint=f"grpc://127.0.0.1:{server.server_port}")
        with pytest.raises(ClusterError, match=str(server.server_port)):
            objects.get_object(
                ObjectRef(context.cache_endpoint, "a/b/c"), timeout=2.0, context=context
            )
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_calls_outlive_a_restart_of_the_cache(tmp_path: Path) -> None:
    storage = ("--storage", str(tmp_path / "objects"))
    with running_cache(*storage) as first:
        context = first.context
        ref = objects.put_object("app/session", "kept", context=context)
        patched = objects.patch_object(ref, "too", context=context)
        first.kill()
    with running_cache(*storage, port=first.port):
        assert objects.get_object(ref, context=context) == "kept"
        both = objects.get_object(patched, lambda base, patches: [base, *patches], context=context)
        assert both == ["kept", "too"]
        assert objects.patch_object(ref, "more", context=context).version == 3
        objects.put_object("app/session", "new", context=context)
        assert objects.count_objects(context=context).keys == 2


def test_a_cache_in_memory_forgets_what_it_had_and_says_so() -> None:
    with running_cache() as first:
        context = first.context
        ref = objects.put_object("app/session", "gone", context=context)
        objects.get_object(ref, context=context)
        first.kill()
    with running_cache(port=first.port):
        with pytest.raises(ClusterError, match=r"never put there, deleted or evicted") as raised:
            objects.get_object(ref, context=context)
        assert raised.value.code == FlameErrorCode.NOT_FOUND


FORKS = """
import os, signal, sys
from flame_remote.core import flight, objects
ref = objects.put_object("fork/session", "parent")
for _ in range(10):
    pid = os.fork()
    if pid == 0:
        signal.alarm(20)
        assert objects.get_object(ref) == "parent"
        objects.put_object("fork/session", "child")
        os._exit(0)
    assert os.waitpid(pid, 0)[1] == 0
    assert objects.get_object(ref) == "parent"
print(objects.count_objects("fork/session").keys)
"""


def test_a_forked_child_and_its_parent_both_go_on(cache: Cache) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", FORKS],
        cwd=ROOT,
        env=cache.environment,
        capture_output=True,
        text=True,
        timeout=50,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "11\n"


FORK_IN_A_CALL = """
import os, signal, socket, threading
from flame_remote.core import flight, objects
from flame_remote.core.context import FlameContext
from flame_remote.exceptions import FlameError
with socket.create_server(("127.0.0.1", 0)) as silent:
    stuck = FlameContext(cache_endpoint=f"grpc://127.0.0.1:{silent.getsockname()[1]}")
    def call():
        try:
            objects.put_object("a/b", 1, context=stuck, timeout=2)
        except FlameError:
            pass
    thread = threading.Thread(target=call)
    thread.start()
    silent.accept()  # now it is in its call
    pid = os.fork()
    if pid == 0:
        signal.alarm(20)
        try:
            objects.put_object("a/b", 1)
        except FlameError as error:
            print(error, flush=True)
        os._exit(0)
    assert os.waitpid(pid, 0)[1] == 0
    thread.join()
    objects.put_object("a/b", 1)
"""


def test_a_child_that_was_forked_within_a_call_is_told_instead_of_hanging(cache: Cache) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", FORK_IN_A_CALL],
        cwd=ROOT,
        env=cache.environment,
        capture_output=True,
        text=True,
        timeout=50,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "made by os.fork() while another thread was talking to the object cache" in done.stdout


# --- TLS and tokens -------------------------------------------------------------------------------


def make_certificate(folder: Path, name: str) -> tuple[str, str]:
    """Make a self-signed certificate for the loopback; return the files of it and its key."""
    certificate, key = folder / f"{name}.crt", folder / f"{name}.key"
    subprocess.run(
        f"openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 "
        f"-subj /CN={name} -addext subjectAltName=IP:127.0.0.1 -keyout {key.name} "
        f"-out {certificate.name}".split(),
        cwd=folder,
        check=True,
        capture_output=True,
    )
    return str(certificate), str(key)


def test_a_cache_with_tls_and_token_serves_who_has_both(tmp_path: Path) -> None:
    certificate, key = make_certificate(tmp_path, "cache")
    other, _ = make_certificate(tmp_path, "other")
    token = tmp_path / "token"
    token.write_text("secret\n")
    options = ("--tls-cert", certificate, "--tls-key", key, "--token-file", str(token))
    with running_cache(*options, scheme="grpcs") as cache:
        right = FlameContext(
            cache_endpoint=cache.endpoint, cache_ca_file=certificate, token="secret"
        )
        ref = objects.put_object("app/session", "private", context=right)
        assert ref.endpoint == f"grpc+tls://127.0.0.1:{cache.port}"
        assert objects.get_object(ref, context=right) == "private"
        for token_sent in (None, "wrong"):
            wrong = FlameContext(
                cache_endpoint=cache.endpoint, cache_ca_file=certificate, token=token_sent
            )
            with pytest.raises(ClusterError, match="does not accept the token") as raised:
                objects.get_object(ref, context=wrong)
            assert raised.value.code == FlameErrorCode.INVALID_CONFIG
        mistrusting = FlameContext(
            cache_endpoint=cache.endpoint, cache_ca_file=other, token="secret"
        )
        with pytest.raises(ConnectError, match=r"its certificate is not signed by the CA file"):
            objects.put_object("app/session", 1, context=mistrusting)
        missing = FlameContext(cache_endpoint=cache.endpoint, cache_ca_file="/none.crt")
        with pytest.raises(ClusterError, match=r"cannot read the CA file .*/none.crt"):
            objects.put_object("app/session", 1, context=missing)


def test_objects_are_written_straight_into_a_shared_folder(tmp_path: Path) -> None:
    storage = tmp_path / "objects"
    with running_cache("--storage", str(storage)) as cache:
        context = FlameContext(cache_endpoint=cache.endpoint, cache_storage=str(storage))
        value = uuid.uuid4().bytes * 10_000
        ref = objects.put_object("app/session", value, context=context)
        assert (storage / f"{ref.key}.arrow").stat().st_size > len(value)
        assert (ref.endpoint, ref.version) == (cache.endpoint, 1)
        assert objects.get_object(ref, context=cache.context) == value
        assert objects.patch_object(ref, 1, context=cache.context).version == 2
        # A folder that cannot be made: the object goes over the network.
        (tmp_path / "file").touch()
        elsewhere = FlameContext(
            cache_endpoint=cache.endpoint, cache_storage=str(tmp_path / "file")
        )
        other = objects.put_object("app/session", "sent", context=elsewhere)
        assert objects.get_object(other, context=cache.context) == "sent"
