"""What Arrow Flight raises, in our words: the only place that knows its errors."""

from __future__ import annotations

import re
from typing import Final

import pyarrow as pa
from pyarrow import flight

from flame_remote.exceptions import (
    ClusterError,
    ClusterTimeoutError,
    ConnectError,
    FlameErrorCode,
)

from .cache_address import CacheAddress

# All that comes out of a call. Arrow's I/O errors are plain OSErrors, but without a number.
FLIGHT_ERRORS: Final = (pa.ArrowException, OSError)

# Behind the server's own sentence come the stack of a Python server and gRPC's view of the matter.
_TAIL: Final = re.compile(r"[.]? *(Detail: |gRPC client debug context: |Client context: ).*", re.S)
_HEAD: Final = re.compile(r"Flight .*?error, with message: ")


def is_ours(error: BaseException) -> bool:
    """Say whether the error comes from Flight, not from a file or from the user's code."""
    return not isinstance(error, OSError) or error.errno is None


def was_not_sent(error: BaseException) -> bool:
    """Say whether the request cannot have reached a server, so that it may be sent again."""
    return isinstance(error, flight.FlightUnavailableError) and "failed to connect" in str(error)


def was_mistrusted(error: BaseException) -> bool:
    """Say whether the cache's certificate was refused; trying again does not help."""
    return was_not_sent(error) and "certificate verify failed" in str(error).lower()


def connection_was_lost(error: BaseException) -> bool:
    """Say whether there is no connection, or no longer: the request may have been carried out."""
    return isinstance(error, flight.FlightUnavailableError)


def translate(
    error: BaseException, doing: str, address: CacheAddress, seconds: float
) -> ClusterError:
    """Return the error to raise.

    Args:
        error: one of FLIGHT_ERRORS.
        doing: what was tried, as in "get object app/session/key".
        address: of the cache.
        seconds: how long the call was given.
    """
    endpoint = address.endpoint
    if connection_was_lost(error):
        reason = _reason(error) if was_not_sent(error) else "the connection was lost"
        return ConnectError(endpoint, address.origin, f"{reason} (to {doing})", what="object cache")
    cannot = f"cannot {doing}: "
    if isinstance(error, flight.FlightTimedOutError):
        text = f"the object cache at {endpoint} gave no answer within {seconds:g} s"
        return ClusterTimeoutError(cannot + text)
    if isinstance(error, KeyError):
        text = f"it is not in the object cache at {endpoint} (never put there, deleted or evicted)"
        return ClusterError(cannot + text, FlameErrorCode.NOT_FOUND)
    if isinstance(error, (flight.FlightUnauthenticatedError, flight.FlightUnauthorizedError)):
        text = f"the object cache at {endpoint} does not accept the token of this client"
        return ClusterError(cannot + text, FlameErrorCode.INVALID_CONFIG)
    code = FlameErrorCode.INTERNAL
    if isinstance(error, (pa.ArrowInvalid, pa.ArrowNotImplementedError)):
        code = FlameErrorCode.INVALID_ARGUMENT
    return ClusterError(f"{cannot}the object cache at {endpoint} says: {_sentence(error)}", code)


def _sentence(error: BaseException) -> str:
    """Return what the server said, without what Arrow and gRPC put around it."""
    return _HEAD.sub("", _TAIL.sub("", str(error))).strip("'\" ") or type(error).__name__


def _reason(error: BaseException) -> str:
    """Return why there is no connection, as gRPC tells it."""
    text = _TAIL.sub("", str(error))
    if was_mistrusted(error):
        return (
            "its certificate is not signed by the CA file given for the cache (cache.tls.ca_file)"
        )
    return text.rpartition("last error: ")[2].rpartition("remote host: ")[2]
