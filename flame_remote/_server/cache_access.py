"""Who may use the object cache: the loopback rule, TLS and the token."""

from __future__ import annotations

import hmac
import ipaddress
from collections.abc import Mapping, Sequence
from typing import Any, Final

from pyarrow import flight

_TOKEN_HEADER: Final = "authorization"


def is_loopback(host: str) -> bool:
    """Say whether only programs on this machine can reach this host."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def objection(
    host: str, token_file: str | None, tls_cert: str | None, tls_key: str | None
) -> str | None:
    """Return why a cache must not be started like this, None if it may."""
    if (tls_cert is None) != (tls_key is None):
        return "--tls-cert and --tls-key belong together: a certificate and its private key"
    if is_loopback(host):
        return None
    missing = []
    if token_file is None:
        missing.append("--token-file")
    if tls_cert is None:
        missing.append("--tls-cert and --tls-key")
    if not missing:
        return None
    return (
        f"--host {host} can be reached from other machines, so it also needs "
        f"{' and '.join(missing)}; or use --host 127.0.0.1, which only this machine can reach"
    )


class TokenCheck(flight.ServerMiddlewareFactory):  # type: ignore[misc]
    """Refuses calls that do not bring the token, before anything else is read of them."""

    def __init__(self, token: str) -> None:
        """Accept the header `authorization: Bearer <token>`."""
        super().__init__()
        self._expected = f"Bearer {token}".encode()

    def start_call(self, info: Any, headers: Mapping[str, Sequence[Any]]) -> None:
        """Look at the headers of a call."""
        for value in headers.get(_TOKEN_HEADER, ()):
            given = value if isinstance(value, bytes) else str(value).encode()
            if hmac.compare_digest(given, self._expected):
                return
        raise flight.FlightUnauthenticatedError(
            "this object cache wants a token: `cluster.token` in the settings, or FLAME_TOKEN"
        )
