"""Who may use the session manager: the user's own processes, or who knows the token."""

from __future__ import annotations

import hmac
from typing import Any, TypeAlias

import grpc

from .peers import Peers, user_name

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
        self._peers = Peers(port)

    def check(self, context: Context) -> None:
        """Raise AccessDenied if this call may not be made."""
        if self._expected is not None:
            if not _has_token(context, self._expected):
                raise AccessDenied(
                    grpc.StatusCode.UNAUTHENTICATED,
                    "this cluster wants a token: `cluster.token` in the settings, or FLAME_TOKEN",
                )
        elif not self._peers.are_ours(context.peer()):
            raise AccessDenied(
                grpc.StatusCode.PERMISSION_DENIED,
                f"this cluster belongs to {user_name()}, and takes calls of that user only; "
                "start one of your own with `flame-remote up`",
            )


def _has_token(context: Context, expected: bytes) -> bool:
    for key, value in context.invocation_metadata() or ():
        given = value if isinstance(value, bytes) else value.encode()
        if key == "authorization" and hmac.compare_digest(given, expected):
            return True
    return False
