"""The context that calls use which are given none."""

from __future__ import annotations

import os

from .context import FlameContext

_contexts: dict[tuple[str | None, ...], FlameContext] = {}
_DEPENDS_ON = (
    "FLAME_ENDPOINT",
    "FLAME_CACHE_ENDPOINT",
    "FLAME_CACHE_STORAGE",
    "FLAME_CA_FILE",
    "FLAME_CONFIG",
    "FLAME_TOKEN",
    "HOME",
)


def settled_context() -> FlameContext:
    """Return what the environment says now, and the file of settings said when it was first read.

    The file is read once for each environment: a call that moves an object may be made thousands of
    times in a second. Raises ClusterError, INVALID_CONFIG, as `FlameContext.load` does.
    """
    environment = tuple(os.environ.get(name) for name in _DEPENDS_ON)
    context = _contexts.get(environment)
    if context is None:
        context = _contexts[environment] = FlameContext.load()
    return context
