"""How a method ends the actor that it runs in."""

from __future__ import annotations

from typing import Final

from .producing import AsyncProducer, Producer
from .text import message_of, shorten

_LIMIT: Final = 200  # characters of what `sys.exit` was given


class ActorExit(BaseException):
    """Raised by `flame.exit_actor()`: the call ends, returning None, and the actor after it.

    No Exception, so that `except Exception` in the user's method does not hold it up.
    """


def how_it_exits(error: object, instance: object) -> str:
    """Return, for an error that says so, how the actor ends whose method raised it; else "".

    `sys.exit()` in a method ends its actor as `exit_actor()` does, but the call fails; in a
    generator function, which is an actor to engines only, it is an error like others. Never raises.
    """
    if isinstance(error, ActorExit):
        return "it has ended by itself, with flame.exit_actor()"
    if isinstance(error, SystemExit) and not isinstance(instance, (Producer, AsyncProducer)):
        return f"it has ended by itself, with sys.exit({_code_of(error)})"
    return ""


def _code_of(error: SystemExit) -> str:
    code: object = error.code
    if code is None:
        return ""
    if isinstance(code, int):
        return int.__repr__(code)
    if isinstance(code, str):
        return shorten(str.__repr__(code), _LIMIT)
    return message_of(error, _LIMIT)
