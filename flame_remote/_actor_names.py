"""Which actor has which name, in one session."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from flame_remote._ids import ActorId
from flame_remote._spec import Naming
from flame_remote.exceptions import ActorAlreadyExistsError, ActorNotFoundError

DEFAULT_NAMESPACE: Final = "default"
_MOST_NEAR: Final = 3


@dataclass(frozen=True, slots=True)
class NamedActor:
    """An actor that has a name."""

    actor: ActorId
    naming: Naming


class ActorNames:
    """Names of actors that live or are about to; one each at most. Guarded by its engine."""

    def __init__(self) -> None:
        self._by_name: dict[tuple[str, str], NamedActor] = {}
        self._by_actor: dict[ActorId, NamedActor] = {}

    def give(self, naming: Naming, actor: ActorId) -> None:
        """Give a name to an actor that is about to be made. Raises ActorAlreadyExistsError."""
        key = naming.namespace, naming.name
        if key in self._by_name:
            raise ActorAlreadyExistsError(naming.name, naming.namespace)
        self._by_name[key] = self._by_actor[actor] = NamedActor(actor, naming)

    def find(self, name: str, namespace: str) -> NamedActor:
        """Return who has a name. Raises ActorNotFoundError."""
        found = self._by_name.get((namespace, name))
        if found is None:
            raise ActorNotFoundError(name, namespace, self._near(name, namespace))
        return found

    def naming_of(self, actor: ActorId) -> Naming | None:
        """Return the name of an actor, None if it has none."""
        named = self._by_actor.get(actor)
        return None if named is None else named.naming

    def forget(self, actor: ActorId) -> Naming | None:
        """An actor is no more, or cannot be reached: its name is free. Return it, if it had one."""
        named = self._by_actor.pop(actor, None)
        if named is None:
            return None
        del self._by_name[named.naming.namespace, named.naming.name]
        return named.naming

    def _near(self, name: str, namespace: str) -> tuple[str, ...]:
        """Return names in words: the same one elsewhere, and those here that look like it."""
        import difflib  # only needed for an error

        here: Sequence[str] = [known for space, known in self._by_name if space == namespace]
        near = [repr(match) for match in difflib.get_close_matches(name, here, n=_MOST_NEAR)]
        elsewhere = sorted(space for space, known in self._by_name if known == name)
        return (*near, *(f"{name!r} in the namespace {space!r}" for space in elsewhere))
