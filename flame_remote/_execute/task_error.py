"""The classes of errors that are instances of both TaskError and the user's exception type."""

from __future__ import annotations

import sys
import types
from functools import lru_cache
from typing import Any, cast

from flame_remote.exceptions import TaskError


class RebuiltError(TaskError):
    """Base of the classes made here.

    `_flame_given` are the attributes that we gave the instance beside the user's own, among them
    `_flame_failure`, the bytes that it came as, and `_flame_notes`, what it says about the task.
    """

    def __init_subclass__(cls, **kwargs: object) -> None:
        """Stop here: our classes have no place in a register of subclasses that a user keeps."""

    def __reduce__(self) -> tuple[Any, ...]:
        from .failure import rebuild_error

        return rebuild_error, (self.__dict__["_flame_given"]["_flame_failure"],)

    if sys.version_info < (3, 11):  # later versions print notes themselves

        def __str__(self) -> str:
            return "\n".join([super().__str__(), *self.__dict__["_flame_given"]["_flame_notes"]])


class UncombinedError(RebuiltError):
    """Stands for an error whose type cannot be had together with TaskError, or not at all here.

    The original, where it could be rebuilt, is its `__cause__`.
    """


UncombinedError.__name__ = UncombinedError.__qualname__ = "TaskError"  # what users see of it
UncombinedError.__module__ = "flame_remote"


# Bounded, because each entry keeps a user's class alive.
@lru_cache(maxsize=256)
def combined_class(cls: type[BaseException]) -> type[RebuiltError] | None:
    """Return the class `TaskError(ValueError)` for ValueError; None if the two cannot be combined.

    An error that ends the process, the coroutine or the generator it is raised in must not do so
    in another process than its own.
    """
    if issubclass(cls, (SystemExit, KeyboardInterrupt, GeneratorExit)) or _is_cancellation(cls):
        return None
    name = f"TaskError({cls.__name__})"
    try:
        combined = types.new_class(
            name,
            (RebuiltError, cls),
            exec_body=lambda body: body.update(__module__="flame_remote", __qualname__=name),
        )
    except Exception:  # final, of another layout, or its metaclass objects
        return None
    return cast("type[RebuiltError]", combined)


def user_class(error: BaseException) -> type[BaseException]:
    """Return the error's class as the user knows it."""
    cls = type(error)
    if isinstance(error, RebuiltError) and not isinstance(error, UncombinedError):
        return cast("type[BaseException]", cls.__bases__[1])
    return cls


def user_attributes(error: BaseException) -> dict[str, Any]:
    """Return the error's attributes without those that we gave it."""
    attributes = dict(error.__dict__)
    given = attributes.pop("_flame_given", None)
    if given is not None:
        for name, value in given.items():
            if attributes.get(name) is value:
                del attributes[name]
        notes = attributes.pop("__notes__", ())
        if own := [note for note in notes if note not in given["_flame_notes"]]:
            attributes["__notes__"] = own
    return attributes


def _is_cancellation(cls: type[BaseException]) -> bool:
    asyncio = sys.modules.get("asyncio.exceptions")
    return asyncio is not None and issubclass(cls, asyncio.CancelledError)
