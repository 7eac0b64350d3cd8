"""Whose processes are at the other ends of the connections within this machine.

On loopback every user of the machine can connect, and stock clients send nothing to be known by. So
the kernel is asked whose socket the other end is. The answer is believed for a moment: a port could
be somebody else's after that.
"""

from __future__ import annotations

import os
import pwd
import re
import socket
import struct
import time
from typing import Final
from urllib.parse import unquote

_BELIEVED_SECONDS: Final = 1.0
_REMEMBERED: Final = 1000  # peers; more are looked through for those that are out of date
_ROOT: Final = 0
_MAPPED: Final = bytes(10) + b"\xff\xff"  # before an IPv4 address in an IPv6 socket


class Peers:
    """Tells the user's own processes from those of others. Any thread; reads /proc now and then."""

    def __init__(self, port: int) -> None:
        """`port` is that of our end."""
        self._port = port
        # Whole entries are put in and taken out, so two threads can only do the same work twice.
        self._known: dict[str, tuple[float, bool]] = {}  # peer -> until when, answer

    def are_ours(self, peer: str) -> bool:
        """Say whether a connection, as gRPC names it, is of this user's, or of root's."""
        now = time.monotonic()
        until, ours = self._known.get(peer, (0.0, False))
        if now < until:
            return ours
        known = self._known.copy()
        if len(known) >= _REMEMBERED:
            self._known = {p: one for p, one in known.items() if one[0] > now}
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


def user_name() -> str:
    """Return the name of the user whose process this is."""
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return f"user {os.getuid()}"
