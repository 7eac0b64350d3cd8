"""Runner: binds functions and classes to an engine as services, and ends them together."""

from __future__ import annotations

from flame_remote._refs import ObjectRef

from .policy import Policy
from .runner import Runner
from .service import ActorService, FunctionService

ObjectFuture = ObjectRef

__all__ = ["ActorService", "FunctionService", "ObjectFuture", "Policy", "Runner"]
