"""The kernel is asked whose connection it is; the token is compared."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace

import grpc
import pytest

from flame_remote._server.access import Access, AccessDenied
from flame_remote._server.peers import uid_of_peer

NOBODY = 65534


@pytest.fixture(params=[(socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")], ids=["v4", "v6"])
def server(request: pytest.FixtureRequest):
    family, address = request.param
    with socket.socket(family) as listening:
        try:
            listening.bind((address, 0))
        except OSError:
            pytest.skip("this machine has no IPv6")
        listening.listen()
        yield family, listening


def peer_name(client: socket.socket) -> str:
    address, port = client.getsockname()[:2]
    return f"ipv6:%5B{address}%5D:{port}" if ":" in address else f"ipv4:{address}:{port}"


def test_the_user_of_a_connection_is_found(server) -> None:
    family, listening = server
    port = listening.getsockname()[1]
    with socket.socket(family) as client:
        client.connect(listening.getsockname())
        assert uid_of_peer(peer_name(client), port) == os.getuid()
        assert uid_of_peer(peer_name(client), port + 1) is None


@pytest.mark.skipif(os.getuid() != 0, reason="only root can make a socket of another user")
def test_the_connection_of_another_user_is_refused() -> None:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        port = listening.getsockname()[1]
        with other_user_connected(port) as client_port:
            peer = f"ipv4:127.0.0.1:{client_port}"
            assert uid_of_peer(peer, port) == NOBODY
            with pytest.raises(AccessDenied) as caught:
                Access(None, port).check(context(peer))
            assert caught.value.status is grpc.StatusCode.PERMISSION_DENIED


@contextmanager
def other_user_connected(port: int) -> Iterator[int]:
    """Have a child of another user connect; yield its port. No new interpreter: it may be one

    that other users cannot read.
    """
    ours, theirs = socket.socketpair()
    child = os.fork()
    if not child:
        try:
            ours.close()
            os.setuid(NOBODY)
            client = socket.socket()
            client.connect(("127.0.0.1", port))
            theirs.sendall(str(client.getsockname()[1]).encode())
            theirs.recv(1)
        finally:
            os._exit(0)
    theirs.close()
    try:
        yield int(ours.recv(10))
    finally:
        ours.close()
        os.waitpid(child, 0)


def context(peer: str, *metadata: tuple[str, str]) -> SimpleNamespace:
    return SimpleNamespace(peer=lambda: peer, invocation_metadata=lambda: metadata)


def test_with_a_token_only_the_token_counts() -> None:
    access = Access("secret-token", 1)
    access.check(context("ipv4:9.9.9.9:1", ("authorization", "Bearer secret-token")))
    for metadata in [
        (),
        (("authorization", "Bearer wrong"),),
        (("authorization", "secret-token"),),
    ]:
        with pytest.raises(AccessDenied, match="wants a token") as caught:
            access.check(context("ipv4:127.0.0.1:1", *metadata))
        assert caught.value.status is grpc.StatusCode.UNAUTHENTICATED
