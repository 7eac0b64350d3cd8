"""KeyTree: values by object key, found by prefix as fast as by key."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Generic, TypeVar

from flame_remote.core.object_key import EVERY_SESSION, ObjectKey

T = TypeVar("T")


class KeyTree(Generic[T]):
    """A value for each key of an object, by application, session and object. Not thread-safe."""

    def __init__(self) -> None:
        """Start empty."""
        self._applications: dict[str, dict[str, dict[str | None, T]]] = {}

    def get(self, key: ObjectKey) -> T | None:
        """Return the value of a key, or None."""
        return self._applications.get(key.application, {}).get(key.session, {}).get(key.object_id)

    def set(self, key: ObjectKey, value: T) -> None:
        """Give the key this value."""
        sessions = self._applications.setdefault(key.application, {})
        sessions.setdefault(key.session, {})[key.object_id] = value

    def remove(self, key: ObjectKey) -> None:
        """Take the key out. Raises KeyError if it is not there."""
        sessions = self._applications[key.application]
        objects = sessions[key.session]
        del objects[key.object_id]
        if not objects:
            del sessions[key.session]
        if not sessions:
            del self._applications[key.application]

    def covered(self, pattern: ObjectKey | None = None) -> Iterator[tuple[ObjectKey, T]]:
        """Yield keys and values that the pattern covers, everything for None.

        Nothing may be set or removed before the iteration is over.
        """
        if pattern is None:
            for application in self._applications:
                yield from self._of_application(application)
        elif pattern.session == EVERY_SESSION:
            yield from self._of_application(pattern.application)
        elif pattern.object_id is None:
            yield from self._of_session(pattern.application, pattern.session)
        else:
            value = self.get(pattern)
            if value is not None:
                yield pattern, value

    def _of_application(self, application: str) -> Iterator[tuple[ObjectKey, T]]:
        for session in self._applications.get(application, {}):
            yield from self._of_session(application, session)

    def _of_session(self, application: str, session: str) -> Iterator[tuple[ObjectKey, T]]:
        for object_id, value in self._applications.get(application, {}).get(session, {}).items():
            yield ObjectKey(application, session, object_id), value
