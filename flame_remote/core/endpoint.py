"""The address of a Flame service: scheme, host and port, checked."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from flame_remote.exceptions import ClusterError, FlameErrorCode

# What may be written, and what is meant by it.
CLUSTER_SCHEMES: Final = {"": "http", "http": "http", "https": "https", "flame": "http"}
CACHE_SCHEMES: Final = {
    "": "grpc",
    "grpc": "grpc",
    "grpc+tcp": "grpc",
    "grpcs": "grpcs",
    "grpc+tls": "grpcs",
}
CLUSTER_PORT: Final = 8080
CACHE_PORT: Final = 9090


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a service listens. `str()` gives it as an address."""

    scheme: str
    host: str
    port: int

    @classmethod
    def parse(
        cls, text: str, origin: str, schemes: Mapping[str, str], default_port: int
    ) -> Endpoint:
        """Read an address.

        Args:
            text: the address, with or without scheme and port.
            origin: where it came from, for errors.
            schemes: what may be written before "://", with what is meant by it; "" for none.
            default_port: where none is written.

        Raises:
            ClusterError: INVALID_CONFIG; this is no address of a service.
        """
        shown = ", ".join(f"{scheme}://" for scheme in dict.fromkeys(schemes.values()))
        example = f"{schemes['']}://127.0.0.1:{default_port}"

        def wrong(reason: str) -> ClusterError:
            return ClusterError(
                f"{text!r} (from {origin}) is not an address such as {example}: {reason}",
                FlameErrorCode.INVALID_CONFIG,
            )

        stripped = text.strip()
        scheme, mark, rest = stripped.partition("://")
        if not mark:
            scheme, rest = "", stripped
        if scheme.lower() not in schemes:
            raise wrong(f"it must begin with {shown}")
        try:
            parts = urlsplit("//" + rest)
            host, port = parts.hostname, parts.port
        except ValueError as error:
            raise wrong(str(error)) from None
        if not host:
            raise wrong("there is no host")
        if parts.path.strip("/") or parts.query or parts.fragment or parts.username is not None:
            raise wrong("only a host and a port may follow the scheme")
        return cls(schemes[scheme.lower()], host, default_port if port is None else port)

    @property
    def target(self) -> str:
        """Host and port, an IPv6 address in brackets."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can be meant."""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

    def __str__(self) -> str:
        return f"{self.scheme}://{self.target}"
