"""Keeps the state of an actor outside its process, for its next life."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Coroutine
from typing import Any

from flame_remote._execute.actor_exit import ActorExit
from flame_remote._execute.call import is_coroutine


class StateKeeper:
    """Asks the instance for its state after every so many calls, before the call's result goes out:
    who has seen a result can rely on the state that belongs to it.

    Calls that raise count, too. Safe to use from any thread.
    """

    def __init__(self, ask: Callable[[], Any], every: int, keep: Callable[[Any], None]) -> None:
        self._ask = ask
        self._every = every
        self._keep = keep
        self._calls = itertools.count(1)

    def around(self, method: Callable[..., Any]) -> Callable[..., Any]:
        """Return the method, with what is to be done after it."""

        @functools.wraps(method)
        def call(*args: Any, **kwargs: Any) -> Any:
            try:
                value = method(*args, **kwargs)
            except (ActorExit, SystemExit):  # it needs no state any more
                raise
            except BaseException:
                self._note()
                raise
            if is_coroutine(value):
                return self._after(value)
            self._note()
            return value

        return call

    async def _after(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        try:
            value = await coroutine
        except (ActorExit, SystemExit):  # it needs no state any more
            raise
        except BaseException:
            self._note()
            raise
        self._note()
        return value

    def _note(self) -> None:
        if next(self._calls) % self._every == 0:
            self._keep(self._ask())
