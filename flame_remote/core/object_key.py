"""Names of objects in a Flame object cache: `<application>/<session>/<object>`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

EVERY_SESSION: Final = "*"  # `<application>/*` stands for all sessions; only deletions take it

# Parts become file names in the cache, that of the object with a suffix of up to seven bytes.
_MOST_BYTES: Final = {"application": 255, "session": 255, "object": 248}
_FORBIDDEN: Final = re.compile(r"[/\\\x00-\x1f\x7f]|\.\.")


@dataclass(frozen=True, slots=True)
class ObjectKey:
    """A key that has been checked: of one object, of a session, or of all of an application.

    `object_id` is None for a prefix; `session` is `*` for all sessions, and has no object then.
    """

    application: str
    session: str
    object_id: str | None = None

    @classmethod
    def parse(cls, path: str) -> ObjectKey:
        """Take a key or a prefix apart. Raises ValueError that says which part is wrong."""
        if not isinstance(path, str):
            raise ValueError(f"object key must be a string, not {type(path).__name__}")
        parts = path.split("/")
        if len(parts) not in (2, 3):
            raise ValueError(
                f"object key {_shown(path)} must be '<application>/<session>/<object>', "
                "or '<application>/<session>' for a prefix"
            )
        for name, part in zip(_MOST_BYTES, parts, strict=False):
            _check(name, part, path)
        if EVERY_SESSION in (parts[0], *parts[2:]) or (EVERY_SESSION in parts and len(parts) == 3):
            raise ValueError(
                f"object key {_shown(path)}: '*' may only stand for all sessions of an "
                "application, as in '<application>/*'"
            )
        return cls(*parts)

    @classmethod
    def parse_object(cls, path: str) -> ObjectKey:
        """Take the key of one object apart. Raises ValueError, also for a prefix."""
        key = cls.parse(path)
        if key.object_id is None:
            raise ValueError(
                f"object key {_shown(path)} is a prefix; "
                "the key of an object is '<application>/<session>/<object>'"
            )
        return key

    @classmethod
    def parse_place(cls, path: str) -> ObjectKey:
        """Take apart where something is to be put: a key, or the prefix of one session.

        Raises ValueError, also for a wildcard.
        """
        key = cls.parse(path)
        if key.session == EVERY_SESSION:
            raise ValueError(
                f"object key {_shown(path)} names all sessions; objects are put into one session"
            )
        return key

    def covers(self, path: str) -> bool:
        """Say whether the key `path` of an object is this one, or lies under this prefix."""
        if self.object_id is not None:
            return path == str(self)
        if self.session == EVERY_SESSION:
            return path.startswith(f"{self.application}/")
        return path.startswith(f"{self}/")

    def __str__(self) -> str:
        if self.object_id is None:
            return f"{self.application}/{self.session}"
        return f"{self.application}/{self.session}/{self.object_id}"


def _check(name: str, part: str, path: str) -> None:
    """Raise ValueError unless `part` may be a part of a key."""
    if not part:
        raise ValueError(f"object key {_shown(path)}: the {name} is empty")
    if part == "." or _FORBIDDEN.search(part):
        raise ValueError(
            f"object key {_shown(path)}: the {name} {_shown(part)} has characters that are "
            "not allowed ('..', backslashes and control characters)"
        )
    try:
        size = len(part.encode())
    except UnicodeEncodeError:
        raise ValueError(f"object key {_shown(path)}: the {name} is no valid text") from None
    if size > _MOST_BYTES[name]:
        raise ValueError(
            f"object key {_shown(path)}: the {name} has {size} bytes, "
            f"at most {_MOST_BYTES[name]} are allowed"
        )


def _shown(text: str) -> str:
    """Quote the text for an error; a long one is cut."""
    return repr(text if len(text) <= 100 else text[:97] + "...")
