"""Who may use the session manager: the user's own processes, or who knows the token.

On loopback every user of the machine can connect, and stock clients send nothing to be known by. So
the kernel is asked whose socket the other end is. The answer is believed for a moment: a port could
be somebody else's after that.
"""

from __future__ import annotations

import hmac
import os
import pwd
import re
import socket
import struct
import time
from typing import Any, Final, TypeAlias
from urllib.parse import unquote

import grpc

_BELIEVED_SECONDS: Final = 1.0
_REMEMBERED: Final = 1000  # peers; more are looked through for those that are out of date
_ROOT: Final = 0
_MAPPED: Final = bytes(10) + b"\xff\xff"  # before an IPv4 address in an IPv6 socket

Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"


class AccessDenied(Exception):
    """A call may not be made; `status` is how it is refused."""

    def __init__(self, status: grpc.StatusCode, text: str) -> None:
        super().__init__(status, text)
        self.status = status
        self.text = text


class Access:
    """Decides for each call. Belongs to the loop's thread; reads /proc now and then."""

    def __init__(self, token: str | None, port: int) -> None:
        """With a token only the token counts, without one whose process calls at this port."""
        self._expected = f"Bearer {token}".encode() if token else None
        self._port = port
        self._known: dict[str, tuple[float, bool]] = {}  # peer -> until when, answer

    def check(self, context: Context) -> None:
        """Raise AccessDenied if this call may not be made."""
        if self._expected is not None:
            if not _has_token(context, self._expected):
                raise AccessDenied(
                    grpc.StatusCode.UNAUTHENTICATED,
                    "this cluster wants a token: `cluster.token` in the settings, or FLAME_TOKEN",
                )
        elif not self._is_ours(context.peer()):
            raise AccessDenied(
                grpc.StatusCode.PERMISSION_DENIED,
                f"this cluster belongs to {_user_name()}, and takes calls of that user only; "
                "start one of your own with `flame-remote up`",
            )

    def _is_ours(self, peer: str) -> bool:
        now = time.monotonic()
        until, ours = self._known.get(peer, (0.0, False))
        if now < until:
            return ours
        if len(self._known) >= _REMEMBERED:
            self._known = {p: known for p, known in self._known.items() if known[0] > now}
        ours = uid_of_peer(peer, self._port) in (os.getuid(), _ROOT)
        self._known[peer] = (now + _BELIEVED_SECONDS, ours)
        return ours


def uid_of_peer(peer: str, port: int) -> int | None:
    """Return whose socket the other end of a connection within this machine is, None if unknown.

    Args:
        peer: as gRPC names it: "ipv4:127.0.0.1:43210", "ipv6:[::1]:43210".
        port: of this end.
    """
    family, _, address = unquote(peer).partition(":")
    host, _, peer_port = address.rpartition(":")
    if family == "ipv4":
        packed = socket.inet_pton(socket.AF_INET, host)
        places = [("/proc/net/tcp", packed), ("/proc/net/tcp6", _MAPPED + packed)]
    elif family == "ipv6":
        places = [("/proc/net/tcp6", socket.inet_pton(socket.AF_INET6, host.strip("[]")))]
    else:
        return None
    for table, packed in places:
        local = f"{_as_in_proc(packed)}:{int(peer_port):04X}"
        if (uid := _uids_in(table, port).get(local)) is not None:
            return uid
    return None


def _as_in_proc(packed: bytes) -> str:
    """Return an address as /proc prints it: 32-bit words in this machine's order."""
    words = struct.unpack(f"!{len(packed) // 4}I", packed)
    return "".join(f"{int.from_bytes(struct.pack('=I', word), 'big'):08X}" for word in words)


def _uids_in(table: str, port: int) -> dict[str, int]:
    """Return the users of all sockets that are connected to a port, by their own addresses."""
    # sl, local address, remote address, state, queues, timer, retransmits, uid
    row = re.compile(rf"^ *\d+: (\w+:\w+) \w+:{port:04X} \w+ \S+ \S+ \S+ +(\d+) ", re.MULTILINE)
    try:
        with open(table) as file:
            return {local: int(uid) for local, uid in row.findall(file.read())}
    except OSError:  # no IPv6, say
        return {}


def _has_token(context: Context, expected: bytes) -> bool:
    for key, value in context.invocation_metadata() or ():
        given = value if isinstance(value, bytes) else value.encode()
        if key == "authorization" and hmac.compare_digest(given, expected):
            return True
    return False


def _user_name() -> str:
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return f"user {os.getuid()}"
