"""Names that a user's object asks for, for the session of its service."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from flame_remote.exceptions import InvalidOptionError

_MAX_LENGTH: Final = 128
_FORBIDDEN: Final = ("/", "\\", "..")  # the id is part of the keys of cached objects


@dataclass(frozen=True)
class SessionContext:
    """Put on an object as `_session_context`, it chooses the session that serves the object.

    Args:
        session_id: the id of the session, 1 to 128 characters; a session of that id that is still
            open is used again. None lets the Runner choose.
        application_name: the application of the session; None for that of the Runner.

    Raises:
        InvalidOptionError: a name is empty, too long, or has characters that no name may have.
        TypeError: a name is no string.
    """

    session_id: str | None = None
    application_name: str | None = None

    def __post_init__(self) -> None:
        for field in ("session_id", "application_name"):
            name = getattr(self, field)
            if name is not None:
                check_name(f"{field} of SessionContext", name)


def check_name(what: str, name: object) -> str:
    """Check the name of a session or an application.

    Raises:
        InvalidOptionError: it is empty, too long, or has characters that no name may have.
        TypeError: it is no string.
    """
    if not isinstance(name, str):
        raise TypeError(f"{what} must be a string, not {type(name).__name__}")
    if not name:
        raise InvalidOptionError(f"{what} must not be empty")
    if len(name) > _MAX_LENGTH:
        raise InvalidOptionError(
            f"{what} is {len(name)} characters long; {_MAX_LENGTH} are the most"
        )
    for part in _FORBIDDEN:
        if part in name:
            raise InvalidOptionError(f"{what} must not contain {part!r}: {name!r}")
    return name


def session_context_of(value: Any) -> SessionContext:
    """Return what an object asks for; nothing in particular if it does not.

    Raises TypeError if its `_session_context` is something else.
    """
    context = getattr(value, "_session_context", None)
    if context is None:
        return SessionContext()
    if not isinstance(context, SessionContext):
        raise TypeError(
            "_session_context must be a SessionContext, e.g. SessionContext(session_id='s1'), "
            f"not {type(context).__name__}"
        )
    return context
