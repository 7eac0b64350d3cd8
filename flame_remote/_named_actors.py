"""Actors that are found by name: made once, reached from everywhere in the session."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from flame_remote._actor_facts import ActorFacts
from flame_remote._actor_names import DEFAULT_NAMESPACE
from flame_remote._handle import ActorHandle
from flame_remote._own_frames import seen_from_here
from flame_remote._session import ensure_engine
from flame_remote._spec import Naming
from flame_remote.exceptions import (
    ActorAlreadyExistsError,
    ActorNotFoundError,
    FlameError,
    InvalidOptionError,
)

if TYPE_CHECKING:
    from flame_remote._handle_terms import HandleTerms
    from flame_remote._options import ActorOptions
    from flame_remote.engine import Engine
    from flame_remote.runner.service import ActorService


def get_actor(name: str, namespace: str | None = None) -> ActorHandle[Any]:
    """Return a handle of the actor that was made with that name. Works in tasks, too.

    Args:
        name: as in `C.options(name=...)`.
        namespace: as in `C.options(namespace=...)`; None for that of actors which name none.

    Raises:
        ActorNotFoundError: no such actor lives; a ValueError too, and says which names are near.
        TypeError: `name` or `namespace` is no string.
        InvalidOptionError: on a Flame cluster, which keeps no names of actors.
    """
    for what, value in (("name", name), ("namespace", namespace or "")):
        if not isinstance(value, str):
            raise TypeError(f"{what} must be a string, not {type(value).__name__} ({value!r:.50})")
    try:
        return _found(ensure_engine(), name, namespace or DEFAULT_NAMESPACE)
    except FlameError as error:
        raise seen_from_here(error)  # noqa: B904  the same error


def make_named(
    service: ActorService,
    options: ActorOptions,
    facts: ActorFacts,
    terms: HandleTerms | None,
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any],
) -> ActorHandle[Any]:
    """Make an actor that has a name, or return the one that has it if the options say so.

    Raises what `ActorClass.remote` raises.
    """
    namespace = options.namespace or DEFAULT_NAMESPACE
    handle = pickle.dumps((facts, options.name, terms), 5)
    naming = Naming(options.name, namespace, handle, options.lifetime == "detached")
    while True:
        # Whoever comes second finds what the first has made; a loop, because that may end before.
        if options.get_if_exists:
            try:
                return _found(service.engine, options.name, namespace)
            except ActorNotFoundError:
                pass
        try:
            ref = service.submit_named(naming, args, kwargs)
            return ActorHandle(ref, facts, options.name, terms)
        except ActorAlreadyExistsError:
            if not options.get_if_exists:
                raise


def check_name(options: ActorOptions, what: str) -> None:
    """Raise InvalidOptionError if options say something about a name that cannot be."""
    if options.name and options.replicas != (1, 1):
        raise InvalidOptionError(f"{what} has replicas=, so no name=: a name stands for one")
    for option in ("namespace", "get_if_exists", "lifetime"):
        if getattr(options, option) and not options.name:
            raise InvalidOptionError(f"{what} has {option}= but no name=: nobody could ask for it")


def _found(engine: Engine, name: str, namespace: str) -> ActorHandle[Any]:
    ref, handle = engine.find_actor(name, namespace)
    facts, label, terms = pickle.loads(handle)
    return ActorHandle(ref, facts, label, terms)
