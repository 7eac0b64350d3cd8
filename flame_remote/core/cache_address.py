"""CacheAddress: how one object cache is reached."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class CacheAddress:
    """How a cache is reached.

    Attributes:
        endpoint: as in settings and refs: grpc://, or grpcs:// or grpc+tls:// with TLS.
        ca_file: PEM file of the root certificates to trust; None for those of the system.
        token: sent with each call; None for none.
        origin: where the endpoint was read, for errors.
    """

    endpoint: str
    ca_file: str | None = None
    token: str | None = None
    origin: str = "a ref"
