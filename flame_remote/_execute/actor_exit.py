"""How a method ends the actor that it runs in."""

from __future__ import annotations


class ActorExit(BaseException):
    """Raised by `flame.exit_actor()`: the call ends, returning None, and the actor after it.

    No Exception, so that `except Exception` in the user's method does not hold it up.
    """
