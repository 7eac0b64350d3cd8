"""How a cluster says that something went wrong, turned into our errors. One place for all calls."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from flame_remote.exceptions import (
    ClusterError,
    ClusterTimeoutError,
    ConnectError,
    FlameErrorCode,
)

from .context import FlameContext

if TYPE_CHECKING:
    import grpc

MESSAGE_LIMIT_BYTES: Final = 4 * 1024 * 1024  # what a stock Flame cluster takes in one message

# By the name of the gRPC status.
_CODES: Final = {
    "NOT_FOUND": FlameErrorCode.NOT_FOUND,
    "ALREADY_EXISTS": FlameErrorCode.ALREADY_EXISTS,
    "INVALID_ARGUMENT": FlameErrorCode.INVALID_ARGUMENT,
    "FAILED_PRECONDITION": FlameErrorCode.INVALID_STATE,
    "UNAUTHENTICATED": FlameErrorCode.INVALID_CONFIG,
    "PERMISSION_DENIED": FlameErrorCode.INVALID_CONFIG,
}

# A Flame cluster gives INVALID_ARGUMENT, INTERNAL, or a bare return code for things that have a
# code of their own; which of them it is can only be told by the text. Its storage engines word
# things differently, the last two are what SQLite says.
_VAGUE: Final = {"INVALID_ARGUMENT", "INTERNAL", "UNKNOWN"}
_TEXTS: Final = [
    (
        re.compile(
            r"is not open|in closed session|open sessions|with running tasks"
            r"|cannot delete open|is disabled|is not enabled",
            re.IGNORECASE,
        ),
        FlameErrorCode.INVALID_STATE,
    ),
    (re.compile(r"already exists", re.IGNORECASE), FlameErrorCode.ALREADY_EXISTS),
    (re.compile(r"not found", re.IGNORECASE), FlameErrorCode.NOT_FOUND),
    (re.compile(r"\binvalid\b|must not|must be", re.IGNORECASE), FlameErrorCode.INVALID_ARGUMENT),
    (re.compile(r"UNIQUE constraint", re.IGNORECASE), FlameErrorCode.ALREADY_EXISTS),
    (re.compile(r"FOREIGN KEY constraint", re.IGNORECASE), FlameErrorCode.NOT_FOUND),
]
_TOO_LARGE: Final = re.compile(r"(message|length).*(too large|larger than)", re.IGNORECASE)


def error_of_call(
    error: grpc.aio.AioRpcError, doing: str, context: FlameContext, seconds: float | None
) -> ClusterError:
    """Translate the error of a call.

    Args:
        error: what gRPC raised.
        doing: what was asked for, completing "cannot ...".
        context: where the cluster's address came from.
        seconds: the time that the call had.
    """
    status, details = error.code().name, (error.details() or "").strip()
    if status == "DEADLINE_EXCEEDED":
        return ClusterTimeoutError(
            f"cannot {doing}: {context.endpoint} did not answer within {seconds or 0:g} s"
        )
    if status == "UNAVAILABLE":
        if was_never_sent(error):
            return ConnectError(context.endpoint, context.origin("endpoint"), reason_of(details))
        return ClusterError(
            f"cannot {doing}: the connection to {context.endpoint} was lost "
            f"({reason_of(details)}) before the answer came; it may have been done or not"
        )
    if status in ("UNAUTHENTICATED", "PERMISSION_DENIED"):
        details += _about_token(context)
    if status in ("RESOURCE_EXHAUSTED", "OUT_OF_RANGE") and _TOO_LARGE.search(details):
        return too_large(doing, details)
    if status == "NOT_FOUND" and "not found" not in details.lower():
        details = "not found"  # it is only the id again
    return ClusterError(f"cannot {doing}: {details or status}", code_of(status, details))


def error_of_result(message: str, return_code: int, doing: str) -> ClusterError:
    """Translate the Result of a call that gRPC let through and the cluster refused."""
    text = message or f"the cluster gave return code {return_code}"
    return ClusterError(f"cannot {doing}: {text}", code_of("INTERNAL", text))


def too_large(doing: str, what: str) -> ClusterError:
    """Return the error for data that does not fit into one message."""
    return ClusterError(
        f"cannot {doing}: {what}; put large data into the object cache with "
        "core.put_object and send the ref",
        FlameErrorCode.INVALID_ARGUMENT,
    )


def code_of(status: str, details: str) -> FlameErrorCode:
    """Return our code for a gRPC status and the text that came with it."""
    if status in _VAGUE:
        for pattern, code in _TEXTS:
            if pattern.search(details):
                return code
    return _CODES.get(status, FlameErrorCode.INTERNAL)


def was_never_sent(error: grpc.aio.AioRpcError) -> bool:
    """Say whether a call failed before there was a connection to send it on."""
    return error.code().name == "UNAVAILABLE" and "failed to connect" in (error.details() or "")


def reason_of(details: str) -> str:
    """Return what people understand of gRPC's text about a connection.

    It looks like "failed to connect to all addresses; last error: UNKNOWN:
    ipv4:127.0.0.1:1: Failed to connect to remote host: connect: Connection refused (111)".
    """
    text = details.rpartition("last error: ")[2]
    if "CERTIFICATE_VERIFY_FAILED" in text:
        return "its certificate is not signed by a root that is trusted here"
    if "handshake" in text.lower():
        return "it does not speak TLS, or not as expected (" + text.strip() + ")"
    last = re.sub(r"\s*\(\d+\)$", "", text.rpartition(": ")[2]).strip()
    return last[:1].lower() + last[1:] if last else "no reason was given"


def _about_token(context: FlameContext) -> str:
    if context.token is None:
        return "; the cluster wants a token: set FLAME_TOKEN"
    return f"; the token came from {context.origin('token')}"
